"""``RUN/console.log``: what the console of a run said, of all its starts.

It is bounded: what is older than `MOST` bytes goes to ``console.log.1``, over what was there.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

from vgbdm.origin import software
from vgbdm.progress import SAID
from vgbdm.storage.masking import mask_text

CONSOLE, OLDER = "console.log", "console.log.1"
MOST = 2**20
"""Bytes of a file; there are two at most."""


class Kept(RotatingFileHandler):
    """Messages with their times, in a file that follows no link and stops no run."""

    def _open(self) -> TextIOWrapper:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        return TextIOWrapper(os.fdopen(os.open(self.baseFilename, flags, 0o666), "ab"), "utf-8")

    def format(self, record: logging.LogRecord) -> str:
        """The line, without credentials."""
        return mask_text(super().format(record))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Nothing: where there is no room, the run itself says so."""


@contextlib.contextmanager
def kept_console(run_dir: Path) -> Iterator[None]:
    """Append to the run's log what loggers and progress say meanwhile, and how it ended.

    Args:
        run_dir: of the run; exists.
    """
    try:
        handler = Kept(run_dir / CONSOLE, maxBytes=MOST, backupCount=1, encoding="utf-8")
    except OSError:  # a link, a folder, no room: the run has other words for it, or needs none
        yield
        return
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    loggers = (logging.getLogger(), SAID)
    for logger in loggers:
        logger.addHandler(handler)
    try:
        SAID.info("--- %s: %s", software(), " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]))
        try:
            yield
        except BaseException as error:
            SAID.info("%s", str(error) or type(error).__name__)
            raise
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        handler.close()
