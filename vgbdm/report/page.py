"""Self-contained HTML pages with pictures, for every report."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from vgbdm.origin import software

FIGURE_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
PAGE_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1d2a30}
body{max-width:1180px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin-bottom:.2rem} h2{font-size:1.15rem;margin-top:2.2rem}
img{max-width:100%} .note{background:#fff4e0;border-left:4px solid #d9a441;padding:.6rem 1rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.86rem}
th,td{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #e3e9ec}
th:first-child,td:first-child{text-align:left} tr.model td{font-weight:600;background:#eef6fa}
pre{background:#f5f7f8;padding:1rem;overflow:auto;font-size:.8rem} .quiet{color:#5d6d75}
"""


def draw(make: Callable[[], Figure]) -> bytes:
    """A figure, made in the house style, as PNG."""
    with matplotlib.rc_context(FIGURE_STYLE):  # the caller's backend and style stay as they are
        buffer = io.BytesIO()
        make().savefig(buffer, format="png", dpi=130, bbox_inches="tight")
    return buffer.getvalue()


def image(png: bytes) -> str:
    """A picture inside the page."""
    return f'<p><img alt="" src="data:image/png;base64,{base64.b64encode(png).decode()}"></p>'


def write_page(path: Path, title: str, parts: Sequence[str]) -> Path:
    """Write a page of HTML ``parts`` that needs no other file and says what made it."""
    foot = f"<p class=quiet>made by {html.escape(software())}</p>"
    path.write_text(
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        f"<style>{PAGE_STYLE}</style><body>{''.join(parts)}{foot}</body></html>"
    )
    return path
