"""What a cell prints comes in pieces, a shell's of 100 bytes; they are joined as they are.

Else the site's renderer ends each piece with a line break.
"""

from __future__ import annotations

import functools

from jupyter_cache.executors import utils
from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, bool]:
    """Of Sphinx's extensions."""
    utils.executenb = functools.partial(utils.executenb, coalesce_streams=True)
    return {"parallel_read_safe": True}
