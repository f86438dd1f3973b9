"""What libraries say is left out, unless it is asked for: it says nothing of the run."""

from __future__ import annotations

import logging
import os
import warnings

NOISY = ("deepspeed", "DeepSpeed", "torch.distributed", "matplotlib", "distributed", "asyncio")
"""Loggers of libraries, whose errors alone are shown."""
VARIABLES = {"TORCH_CPP_LOG_LEVEL": "ERROR", "TF_CPP_MIN_LOG_LEVEL": "2"}
"""Read by what is not Python, when it is loaded."""
OF_PROGRAMMERS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)
CHATTER = r"(torch|deepspeed|tensorboard)(\.|$)"
"""Modules whose warnings speak to who programs with them."""


def errors_alone(record: logging.LogRecord) -> bool:
    """Whether a message is an error."""
    return record.levelno >= logging.ERROR


def silence() -> None:
    """Show errors of libraries, and warnings that are about numbers and files; torch comes later.

    Libraries set the levels of their loggers when they are imported, so that filters are needed.
    """
    for name in NOISY:
        logging.getLogger(name).addFilter(errors_alone)
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
    for category in OF_PROGRAMMERS:
        warnings.filterwarnings("ignore", category=category)
    warnings.filterwarnings("ignore", category=UserWarning, module=CHATTER)
