"""Options of the launcher that writes a model apart from its run."""

from __future__ import annotations

from typing import Literal

from vgbdm.options.kinds import Text
from vgbdm.options.shapes import Launched


class Export(Launched):
    """A trained model as one file of weights.

    Attributes:
        run_dir: folder of a training, or one of the folders in its checkpoints.
        out: folder to make.
        checkpoint: whose weights.
    """

    run_dir: Text
    out: Text
    checkpoint: Literal["best", "last"]
