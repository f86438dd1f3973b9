"""Tables as CSV that a spreadsheet shows and does not compute."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vgbdm.storage.files import aside_of, create

WIDTH = 80
"""Letters of a line on a terminal."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a cell begins with that a spreadsheet takes for a formula."""


def plain_cell(value: Any) -> Any:
    """A cell as a text that stays one: a formula gets an apostrophe, numbers stay."""
    if not isinstance(value, str) or not value.startswith(FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def in_columns(lines: Sequence[Sequence[str]], width: int = WIDTH, margin: int = 0) -> str:
    """A table for a terminal, in several blocks where it is too wide; the first column in each.

    Args:
        lines: cells (rows, columns); the first row is the head.
        width: letters of a line at most, as far as two columns fit.
        margin: letters of the first column at least.
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    first, blocks = max(widths[0], margin), list[list[int]]()
    room = 0
    for k, own in enumerate(widths[1:], 1):
        if not blocks or room < own + 2:
            blocks.append([])
            room = width - first
        blocks[-1].append(k)
        room -= own + 2
    parts = [
        "\n".join(
            "  ".join([line[0].ljust(first), *(line[k].rjust(widths[k]) for k in block)]).rstrip()
            for line in lines
        )
        for block in blocks
    ]
    return "\n\n".join(parts)


def write_csv(table: pd.DataFrame, path: Path, digits: int = 8) -> None:
    """Write a table without its index; it appears at once.

    Args:
        table: of numbers and texts; names of runs and objectives come from others' files.
        path: of the CSV file.
        digits: significant ones of a number.
    """
    texts = [name for name, kind in table.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
    safe = table.assign(**{str(name): table[name].map(plain_cell) for name in texts})
    safe.columns = pd.Index([plain_cell(name) for name in safe.columns])
    aside = aside_of(path)
    with create(aside) as file:
        safe.to_csv(file, index=False, float_format=f"%.{digits}g")
    aside.replace(path)
