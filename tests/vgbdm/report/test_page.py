"""Pages of reports: pictures in the house style, inside one file."""

import base64
import io
import re

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vgbdm.origin import software
from vgbdm.report.page import draw, write_page
from vgbdm.report.parts import (
    Cell,
    Folded,
    Group,
    Line,
    Page,
    Picture,
    Section,
    Table,
    Text,
    shade,
    shown,
    table_of,
)  # fmt: skip


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


HOSTILE = '</pre><script>alert(1)</script>" onload="x \' {{ 7 * 7 }} &amp;'


def written(tmp_path, *sections, **told):
    path = write_page(tmp_path / "a.html", Page("A title", sections, **told))
    assert path == tmp_path / "a.html" and [*tmp_path.iterdir()] == [path]
    return path.read_text()


def test_a_page_needs_no_other_file(tmp_path):
    picture = Picture(b"\x89PNG of a kind", "what it shows", "a caption")
    parts = [Text("first"), picture, Folded("config", "{}")]
    text = written(tmp_path, Section("Things", parts), Section("Nothing", []))
    assert base64.b64encode(b"\x89PNG of a kind").decode() in text
    assert "<title>A title</title>" in text and "Nothing" not in text
    order = [
        "<style>", "prefers-color-scheme: dark", 'href="#s1"', "<p>first", 'alt="what it shows"',
        "data:image/png;base64,", "a caption</figcaption>", "<details>", f"made by {software()}",
    ]  # fmt: skip
    assert [text.index(part) for part in order] == sorted(text.index(part) for part in order)
    assert not re.search(r"https?:|url\(|@import|<link|<script", text)


def test_no_word_of_a_page_is_taken_for_html(tmp_path):
    table = Table(
        HOSTILE, [HOSTILE] * 2, [Group(HOSTILE, [Line(HOSTILE, [Cell(HOSTILE, HOSTILE)])])]
    )
    parts = [
        Text(HOSTILE, "note"),
        table,
        Picture(b"", HOSTILE, HOSTILE, HOSTILE),
        Folded(HOSTILE, HOSTILE),
    ]
    lists = {name: [HOSTILE] for name in ("headline", "about", "notes")}
    text = written(tmp_path, Section(HOSTILE, parts), **lists, origin={HOSTILE: HOSTILE})
    assert "<script" not in text and 'onload="x' not in text
    assert text.count("{{ 7 * 7 }}") == 22
    assert text.count("alert(1)") == 22


def test_a_table_has_groups_lines_and_a_name_for_each_column(tmp_path):
    lines = [Line("model", [Cell("1", "0 … 2", "strong")], "model"), Line("other", [Cell("–")])]
    text = written(tmp_path, Section("S", [Table("A caption", ["", "6 h"], [Group("z", lines)])]))
    assert "<caption><span>A caption</span></caption>" in text
    assert '<th scope="col">6 h</th>' in text and '<th colspan="2" scope="rowgroup">z</th>' in text
    assert '<tr class="model"><th scope="row">model</th>' in text
    assert '<td class="strong">1<small>0 … 2</small></td>' in text


def test_a_picture_says_its_size_and_what_moves_is_folded_away(tmp_path):
    figure = Figure(figsize=(3, 2))
    picture = Picture(draw(lambda: figure), "alt", folded="Play")
    width, height = picture.size
    text = written(tmp_path, Section("S", [picture]))
    assert f'width="{width}" height="{height}"' in text
    assert text.index("<summary>Play</summary>") < text.index("<img")
    assert f"min-width: {round(0.7 * width)}px" in text
    moving = Picture(b"RIFF....WEBPVP8X" + bytes(8) + b"\x29\x04\x00\x37\x01\x00", "")
    assert moving.source.startswith("data:image/webp;base64,") and moving.size == (1066, 312)
    assert Picture(b"RIFF", "").size is None and Picture(b"", "").least == 0


def test_notes_and_origins_that_say_nothing_are_left_out(tmp_path):
    text = written(tmp_path, notes=["", "beware"], origin={"run": "", "commit": "abc"})
    assert text.count('class="note"') == 1 and "beware" in text
    assert "commit" in text and ">run<" not in text


def test_gains_are_shaded_in_steps():
    gains = [0.0, 0.019, 0.02, 0.3, 0.9, -0.02, -0.5, float("nan")]
    want = ["", "", "gain-1", "gain-3", "gain-4", "loss-1", "loss-4", ""]
    assert [shade(gain) for gain in gains] == want


def test_a_frame_is_a_table_named_by_its_first_column():
    frame = pd.DataFrame({"row": ["a"], "the_rmse": [1.23456], "n": [12345], "x": [np.nan]})
    table = table_of(frame, "caption")
    assert table.head == ["row", "the rmse", "n", "x"]
    (line,) = table.groups[0].lines
    assert (line.name, [cell.text for cell in line.cells]) == ("a", ["1.23", "12345", "–"])
    assert shown(None) == "–" and shown("x") == "x" and shown(0.123456, 4) == "0.1235"
