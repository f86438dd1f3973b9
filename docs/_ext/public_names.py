"""A name on the reference pages without a docstring is a warning, which ends the build."""

from sphinx.application import Sphinx
from sphinx.util import logging

LOG = logging.getLogger(__name__)
SAID = ("class", "exception", "function", "method", "module")


def refuse_silence(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Warn of what says nothing about itself."""
    if what in SAID and not any(line.strip() for line in lines):
        LOG.warning("%s has no docstring; say what it is", name, type="public_names")


def keep_bars(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """The bars of |x| are no marks of a substitution."""
    lines[:] = [line if "``" in line else line.replace("|", r"\|") for line in lines]


def setup(app: Sphinx) -> dict[str, bool]:
    """Of Sphinx's extensions."""
    app.connect("autodoc-process-docstring", refuse_silence, priority=400)
    app.connect("autodoc-process-docstring", keep_bars, priority=900)
    return {"parallel_read_safe": True}
