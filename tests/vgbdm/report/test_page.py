"""Pages of reports: pictures in the house style, inside one file."""

import base64
import io

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from vgbdm.origin import software
from vgbdm.report.page import draw, image, write_page


def test_a_figure_is_drawn_in_the_house_style_and_the_style_is_left_as_it_was():
    seen = {}

    def make():
        seen.update({name: matplotlib.rcParams[name] for name in ("font.size", "axes.spines.top")})
        figure = Figure(figsize=(3, 2))
        figure.subplots().plot([0, 1], [0, 1])
        return figure

    before = matplotlib.rcParams["font.size"], matplotlib.rcParams["axes.spines.top"]
    png = draw(make)
    assert seen == {"font.size": 9.0, "axes.spines.top": False}
    assert (matplotlib.rcParams["font.size"], matplotlib.rcParams["axes.spines.top"]) == before
    pixels = matplotlib.image.imread(io.BytesIO(png), format="png")
    assert np.allclose(pixels.shape[:2], (260, 390), rtol=0.15)
    assert 0.05 < (pixels[..., :3] < 0.9).any(-1).mean() * 10 < 2  # a line, axes and words


def test_a_page_needs_no_other_file(tmp_path):
    picture = image(b"\x89PNG of a kind")
    assert base64.b64encode(b"\x89PNG of a kind").decode() in picture
    path = write_page(tmp_path / "a.html", "A title", ["<p>first</p>", picture, "<p>last</p>"])
    text = (tmp_path / "a.html").read_text()
    assert path == tmp_path / "a.html" and "<title>A title</title>" in text
    order = [text.index(part) for part in ("<style>", "first", "data:image/png;base64,", "last")]
    order.append(text.index(f"made by {software()}"))
    assert order == sorted(order)
