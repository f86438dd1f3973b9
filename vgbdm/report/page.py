"""Self-contained HTML pages with pictures, for every report, by the one template there is."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from vgbdm.origin import software
from vgbdm.report.parts import Page
from vgbdm.storage.files import aside_of, create

FIGURE_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
DPI = 130
TEMPLATES = Path(__file__).parent / "templates"


def draw(make: Callable[[], Figure]) -> bytes:
    """A figure, made in the house style, as PNG."""
    with matplotlib.rc_context(FIGURE_STYLE):  # the caller's backend and style stay as they are
        buffer = io.BytesIO()
        make().savefig(buffer, format="png", dpi=DPI, bbox_inches="tight")
    return buffer.getvalue()


def write_page(path: Path, page: Page) -> Path:
    """Write a page that needs no other file and says what made it; it appears at once.

    Args:
        path: of the HTML file.
        page: what it says.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("report.html")
    aside = aside_of(path)
    with create(aside) as file:  # piece by piece: pictures are large
        for piece in template.generate(page=page, software=software()):
            file.write(piece)
    aside.replace(path)
    return path
