"""What a report is made of: sections of words, tables, pictures and files folded away.

They hold plain text, whoever wrote it; the template escapes all of it.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import pandas as pd

ABSENT = "–"
WEBP, PNG = b"RIFF", b"\x89PNG"
LEGIBLE = 0.7
"""Share of its size below which a picture's words, of 9 points at 130 per inch, are below 11 px."""
STEPS = (0.02, 0.10, 0.25, 0.50)
"""Shares from which a cell of a heat map has the next colour."""


@dataclass(frozen=True)
class Text:
    """A paragraph.

    Attributes:
        words: of it.
        kind: ``plain``, ``quiet`` or, for what a reader must not miss, ``note``.
    """

    form: ClassVar[str] = "text"
    words: str
    kind: str = "plain"


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: of it.
        below: a second line, in small type.
        kind: ``strong``, a colour of `shade`, or empty.
    """

    text: str
    below: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Line:
    """A line of a table.

    Attributes:
        name: its first cell.
        cells: the others.
        kind: ``model`` for the lines that the page is about, or empty.
    """

    name: str
    cells: Sequence[Cell]
    kind: str = ""


@dataclass(frozen=True)
class Group:
    """Lines of a table that belong together.

    Attributes:
        title: over them; empty: none.
        lines: of it.
    """

    title: str
    lines: Sequence[Line]


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        caption: what its numbers are, and in which unit.
        head: titles of all columns, that of the names first.
        groups: of lines.
        kind: ``numbers``, ``words`` or ``heat``.
    """

    form: ClassVar[str] = "table"
    caption: str
    head: Sequence[str]
    groups: Sequence[Group]
    kind: str = "numbers"


@dataclass(frozen=True)
class Picture:
    """A picture.

    Attributes:
        data: PNG or WebP.
        alt: what it shows, for those who do not see it.
        caption: below it.
        folded: title under which it is folded away, as what moves is; empty: it is shown.
    """

    form: ClassVar[str] = "picture"
    data: bytes = field(repr=False)
    alt: str
    caption: str = ""
    folded: str = ""

    @property
    def source(self) -> str:
        """The picture as a link that holds it."""
        kind = "webp" if self.data.startswith(WEBP) else "png"
        return f"data:image/{kind};base64,{base64.b64encode(self.data).decode()}"

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height in pixels; None where the data do not say."""
        if self.data.startswith(PNG) and len(self.data) >= 24:
            width, height = struct.unpack(">II", self.data[16:24])
            return width, height
        if self.data[12:16] == b"VP8X" and len(self.data) >= 30:  # of a WebP that moves
            width, height = (
                int.from_bytes(self.data[at : at + 3], "little") + 1 for at in (24, 27)
            )
            return width, height
        return None

    @property
    def least(self) -> int:
        """Pixels that it is wide at least, for its words to be read; narrower pages scroll it."""
        return round(LEGIBLE * self.size[0]) if self.size else 0


@dataclass(frozen=True)
class Folded:
    """A file that is there to be looked up.

    Attributes:
        title: that unfolds it.
        text: of it.
    """

    form: ClassVar[str] = "folded"
    title: str
    text: str


Part = Text | Table | Picture | Folded


@dataclass(frozen=True)
class Section:
    """A part of the page with a title, which the contents name.

    Attributes:
        title: of it.
        parts: in order.
    """

    title: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Page:
    """A report.

    Attributes:
        title: of it.
        sections: in order; those without parts are left out.
        headline: what it comes to, in a few sentences; empty: nothing is said.
        about: what it is of, below the title, line by line.
        notes: what a reader must not miss; empty ones are left out.
        origin: where it comes from, by name; empty ones are left out.
    """

    title: str
    sections: Sequence[Section]
    headline: Sequence[str] = ()
    about: Sequence[str] = ()
    notes: Sequence[str] = ()
    origin: dict[str, str] = field(default_factory=dict)


def shade(gain: float) -> str:
    """The colour of a cell of a heat map: blue for a gain, orange for a loss, in four steps.

    Args:
        gain: share, such as .34 for an error 34 % below another.
    """
    step = sum(abs(gain) >= edge for edge in STEPS)
    return f"{'gain' if gain > 0 else 'loss'}-{step}" if step else ""


def table_of(frame: pd.DataFrame, caption: str, digits: int = 3) -> Table:
    """A table as it stands; its first column names the lines.

    Args:
        frame: of numbers and texts.
        caption: see `Table`.
        digits: significant ones of a number.
    """
    lines = [
        Line(*_named([shown(value, digits) for value in values]))
        for values in frame.itertuples(index=False)
    ]
    head = [str(name).replace("_", " ") for name in frame.columns]
    return Table(caption, head, [Group("", lines)])


def _named(texts: Sequence[str]) -> tuple[str, list[Cell]]:
    return texts[0], [Cell(text) for text in texts[1:]]


def shown(value: object, digits: int = 3) -> str:
    """A value as a cell says it; a dash where there is none."""
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return ABSENT
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)
