"""Tables as CSV that a spreadsheet shows and does not compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from vgbdm.storage.files import aside_of, create

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
