"""A site that asks another machine for anything, or whose links are broken, is refused."""

import ast
import importlib
import re
import runpy
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
SITE = runpy.run_path(str(REPO / "docs" / "check_site.py"))
REFERENCE = [REPO / "docs" / "reference" / name for name in ("api.md", "parts.md")]


@pytest.mark.parametrize(
    "text",
    [
        '<script src="https://cdn.example/a.js"></script>',
        '<script src="//cdn.example/a.js"></script>',
        '<link rel="stylesheet" href="https://cdn.example/a.css">',
        '<link rel="preconnect" href="https://fonts.example">',
        '<img src="a.png" srcset="a.png 1x, https://cdn.example/b.png 2x">',
        '<iframe src="http://example.org/"></iframe>',
        "<style>@import url('https://cdn.example/a.css');</style>",
        "<style>@font-face { src: url(https://cdn.example/a.woff2) }</style>",
        '<p style="background: url(//cdn.example/a.png)">x</p>',
    ],
)
def test_a_request_to_elsewhere_is_found(tmp_path, text):
    (tmp_path / "index.html").write_text(text)
    wrong, _ = SITE["check"](tmp_path)
    assert len(wrong) == 1 and wrong[0].startswith("index.html: asks for ")
    assert "1 faults" in SITE["main"]([str(tmp_path)])


def test_a_style_sheet_that_asks_elsewhere_is_found(tmp_path):
    (tmp_path / "index.html").write_text('<link rel="stylesheet" href="a.css">')
    (tmp_path / "a.css").write_text("p { background: url(https://cdn.example/a.png) }")
    assert SITE["check"](tmp_path)[0] == ["a.css: asks for https://cdn.example/a.png"]


def test_what_a_reader_may_follow_is_listed_and_what_is_here_is_let_pass(tmp_path):
    (tmp_path / "index.html").write_text(
        '<h1 id="top">x</h1><a href="https://a.example/">a</a><a href="#top">b</a>'
        '<a href="other.html#there">c</a><script src="local.js?v=1"></script>'
        '<img src="data:image/png;base64,AAAA"><link rel="canonical" href="https://a.example/">'
    )
    (tmp_path / "other.html").write_text('<p id="there">x</p>')
    assert SITE["main"]([str(tmp_path)]) is None
    assert (tmp_path / "external-links.txt").read_text() == "https://a.example/  (index.html)\n"


@pytest.mark.parametrize("link", ["no.html", "#no", "other.html#no"])
def test_a_broken_link_is_found(tmp_path, link):
    (tmp_path / "index.html").write_text(f'<a href="{link}">a</a>')
    (tmp_path / "other.html").write_text("<p>x</p>")
    assert SITE["check"](tmp_path)[0] == [f"index.html: its link {link} has no target"]


BLOCK = re.compile(
    r"^```(?:python|\{code-cell\} python).*?\n((?:%%writefile.*?\n)?)(.*?)^```",
    re.DOTALL | re.MULTILINE,
)


def documented() -> set[str]:
    """The names that the reference pages show."""
    lines = [line for page in REFERENCE for line in page.read_text().splitlines()]
    return {line.split(":: ")[1] for line in lines if line.startswith(".. auto")}


def marked() -> set[str]:
    """Whatever a config may name, read off the code."""
    found = set()
    for package in ("vgbdm", "climate", "physics_systems"):
        for path in (REPO / package).rglob("*.py"):
            for node in ast.parse(path.read_text()).body:
                marks = {m.id for m in getattr(node, "decorator_list", ()) if hasattr(m, "id")}
                if marks & {"model_part", "buildable"}:
                    module = ".".join(path.relative_to(REPO).with_suffix("").parts)
                    found.add(f"{module}.{node.name}")
    return found


def test_every_public_name_is_on_the_reference_pages():
    import vgbdm

    public = {f"vgbdm.{name}" for name in vgbdm.__all__} | marked()
    assert len(public) > 40
    assert public <= documented()


def imported(text: str) -> set[str]:
    """What the Python of a page takes from these packages, by its full names."""
    found = set()
    for _, code in BLOCK.findall(re.sub(r"(?ms)^%%bash$.*?^```$", "```", text)):
        code = re.sub(r"\A---\n.*?^---$|^[%!].*?$", "", code, flags=re.MULTILINE | re.DOTALL)
        for node in ast.walk(ast.parse(code)):
            module = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
            if module.partition(".")[0] in ("vgbdm", "climate", "physics_systems"):
                found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def test_what_pages_import_is_public():
    pages = [REPO / "README.md", *sorted((REPO / "docs").rglob("*.md"))]
    names = set().union(*(imported(page.read_text()) for page in pages))
    assert "vgbdm.paths.path.Path" in names
    assert names <= documented()


def test_a_name_that_says_nothing_ends_the_build(monkeypatch):
    pytest.importorskip("sphinx", reason="the extra docs is not installed")
    monkeypatch.syspath_prepend(str(REPO / "docs" / "_ext"))
    extension = importlib.import_module("public_names")
    said = []
    monkeypatch.setattr(extension.LOG, "warning", lambda line, *given, **_: said.append(given))
    extension.refuse_silence(None, "function", "vgbdm.silent", None, None, ["", " "])
    extension.refuse_silence(None, "function", "vgbdm.speaking", None, None, ["What it does."])
    extension.refuse_silence(None, "attribute", "vgbdm.data", None, None, [])
    assert said == [("vgbdm.silent",)]


def test_a_long_line_of_a_shell_stays_one_line(tmp_path, monkeypatch):
    pytest.importorskip("myst_nb", reason="the extra docs is not installed")
    import nbformat
    from jupyter_cache.executors import utils

    monkeypatch.syspath_prepend(str(REPO / "docs" / "_ext"))
    monkeypatch.setattr(utils, "executenb", utils.executenb)
    importlib.import_module("whole_lines").setup(None)
    cell = nbformat.v4.new_code_cell("%%bash\nfor k in $(seq 200); do printf 'ä'; done")
    book = nbformat.v4.new_notebook(cells=[cell])
    done = utils.single_nb_execution(book, cwd=str(tmp_path), timeout=None, allow_errors=False)
    (said,) = done.nb.cells[0].outputs
    assert said["text"] == 200 * "ä"


def test_the_table_of_common_errors_quotes_lines_that_the_code_has(monkeypatch):
    pytest.importorskip("sphinx", reason="the extra docs is not installed")
    monkeypatch.syspath_prepend(str(REPO / "docs" / "_ext"))
    lines = {
        line
        for room in importlib.import_module("error_messages").collect().values()
        for line in room
    }
    page = (REPO / "docs" / "reference" / "errors.md").read_text()
    quoted = re.findall(r"^\| `(.*?)` \|", page, re.MULTILINE)
    assert len(quoted) >= 10
    assert not [line for line in quoted if line not in lines]


def test_a_line_is_read_off_the_code_with_its_values_left_open(tmp_path, monkeypatch):
    pytest.importorskip("sphinx", reason="the extra docs is not installed")
    monkeypatch.syspath_prepend(str(REPO / "docs" / "_ext"))
    messages = importlib.import_module("error_messages")
    code = tmp_path / "a.py"
    code.write_text(
        'raise InputError(f"{path}: is | bad; " "leave it out")\nraise ValueError("no")'
    )
    (line,) = messages.messages_of(code)
    assert line == "…: is | bad; leave it out"
    assert messages.table([line]).splitlines()[-1] == r"| …\: is \| bad | leave it out |"
