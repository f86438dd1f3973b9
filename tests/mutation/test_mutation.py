"""The driver of faults: it makes those it should, and tells the noticed from the others."""

import ast
import json
import subprocess
import sys
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS)]

from mutation.__main__ import (  # noqa: E402
    EQUIVALENT,
    REPO,
    draw,
    equivalents,
    is_equivalent,
    main,
    report,
)
from mutation.operators import modules_of, mutants_of  # noqa: E402
from mutation.running import KILLED, LATE, SURVIVED, UNTRIED, Copy  # noqa: E402
from mutation.selection import PACKAGES, mirrors  # noqa: E402

SOURCE = '''"""Words with + and 1."""
import logging
log = logging.getLogger(__name__)


def mean(values: list[float], weights: "int | None" = None, scale: float = 2.0) -> float:
    """Not 1 + 1."""
    if not values:
        raise ValueError(f"{1 + 1} " + "words")
    log.info("words %d", 1)
    total = (sum(values) - 0.0) * scale
    values.clear()
    total /= 3
    return -total if total <= 4 and scale is not None else True
'''


def write(root: Path, name: str, text: str) -> str:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return name


def test_each_kind_of_fault_is_made_and_words_are_left_alone(tmp_path):
    name = write(tmp_path, "vgbdm/a.py", SOURCE)
    found = {(m.kind, m.after) for m in mutants_of(tmp_path, name)}
    start = 'def mean(values: list[float], weights: "int | None" = None, scale: float ='
    last = "return -total if total <= 4 and scale is not None else True"
    assert found == {
        ("constant", f"{start} 4.0) -> float:"),
        ("logic", "if     values:"),
        ("no error raised", "pass"),
        ("operator", "total = (sum(values) + 0.0) * scale"),
        ("operator", "total = (sum(values) - 0.0) / scale"),
        ("operand left out", "total = (sum(values) ) * scale"),
        ("operand left out", "total = (sum(values) - 0.0)"),
        ("constant", "total = (sum(values) - 1.0) * scale"),
        ("call left out", "pass"),
        ("operator", "total *= 3"),
        ("constant", "total /= 4"),
        ("sign", last.replace("-total", "+total")),
        ("comparison", last.replace("<=", "<")),
        ("constant", last.replace("4", "5")),
        ("logic", last.replace(" and ", " or ")),
        ("comparison", last.replace("is not", "is")),
        ("constant", last.replace("True", "False")),
    }
    assert all(m.function == "mean" for m in mutants_of(tmp_path, name))


def test_every_fault_changes_the_program():
    every = [m for module in modules_of(REPO, ("vgbdm",)) for m in mutants_of(REPO, module)]
    drawn = draw(every, 1, 50)
    for mutant in drawn:
        source = (REPO / mutant.module).read_bytes()
        assert ast.dump(ast.parse(mutant.apply(source))) != ast.dump(ast.parse(source))
    assert len(set(drawn)) == 50
    assert draw(every, 1, 50) == drawn != draw(every, 2, 50)


def test_a_seed_draws_the_same_faults_when_other_code_changes():
    modules = list(modules_of(REPO, ("vgbdm",)))[:20]
    every = [m for module in modules for m in mutants_of(REPO, module)]
    known = {m.module for m in draw(every, 1, 10)}
    fewer = [m for m in every if m.module in known]
    assert draw(fewer, 1, 10) == draw(every, 1, 10)


def test_tests_of_a_module_are_its_own_then_those_that_import_it(tmp_path):
    write(tmp_path, "tests/vgbdm/test_a.py", "")
    write(tmp_path, "tests/climate/test_c.py", "from vgbdm.a import mean")
    write(tmp_path, "tests/vgbdm/test_b.py", "from vgbdm import a")
    write(tmp_path, "tests/launch/test_d.py", "from vgbdm.a import mean")
    write(tmp_path, "tests/vgbdm/test_e.py", "from vgbdm.ab import mean")
    own = ["tests/vgbdm/test_a.py", "tests/vgbdm/test_b.py", "tests/climate/test_c.py"]
    assert mirrors(tmp_path, "vgbdm/a.py") == own
    assert mirrors(tmp_path, "vgbdm/rooms/f.py") == [
        f"tests/vgbdm/test_{name}.py" for name in ("a", "b", "e")
    ]


def test_where_no_test_names_a_module_those_of_its_users_come_first(tmp_path):
    write(tmp_path, "vgbdm/f.py", "")
    write(tmp_path, "vgbdm/user.py", "from vgbdm.f import x")
    write(tmp_path, "vgbdm/d.py", "from vgbdm import f")
    for name, text in (("a", ""), ("b", "from vgbdm.user import y"), ("c", ""), ("d", "")):
        write(tmp_path, f"tests/vgbdm/test_{name}.py", text)
    assert mirrors(tmp_path, "vgbdm/f.py") == [f"tests/vgbdm/test_{n}.py" for n in "dbac"]
    assert mirrors(tmp_path, "vgbdm/g.py") == [f"tests/vgbdm/test_{n}.py" for n in "abcd"]


def test_a_module_is_mirrored_wherever_it_lies():
    assert all(mirrors(REPO, module) for module in modules_of(REPO, PACKAGES))


def test_a_copy_has_all_that_is_not_ignored(tmp_path):
    copy = Copy(REPO, tmp_path).place
    ignored = [line.strip("/") for line in (REPO / ".gitignore").read_text().split()]
    names = {path.name for path in REPO.iterdir()
             if path.name in (".ci", ".gitignore") or not path.name.startswith(".")}  # fmt: skip
    kept = {name for name in names if not any(fnmatch(name, pattern) for pattern in ignored)}
    assert {"docs", "vgbdm", "Makefile", ".ci"} <= kept
    assert {name for name in kept if not (copy / name).exists()} == set()


QUICK = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
PROGRAM = """
import json, os, signal, sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from mutation import running
from mutation.operators import mutants_of, no_fault
running.LIBRARIES = ("pytest",)
root, place = Path({root!r}), Path({place!r})
mutants = [no_fault("vgbdm/a.py"), *mutants_of(root, "vgbdm/a.py")]
found = list(running.judge(root, place / "a", mutants, 2, 600))
first_failure, running._first_failure = running._first_failure, lambda _: time.sleep(600)
late = list(running.judge(root, place / "b", mutants[:1], 1, 0))
over = list(running.judge(root, place / "c", mutants, 1, 60, time.monotonic() - 1))
copy = running.Copy(root, place / "d")
copy.begin(mutants[-1], ["tests/vgbdm/test_a.py"], 60)
words = [["too many", "", copy.end(True).word]]
running._first_failure = first_failure
running.os.open = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
copy = running.Copy(root, place / "e")
copy.begin(mutants[-1], ["tests/vgbdm/test_a.py"], 60)
while not (dead := copy.end(False)):
    time.sleep(0.01)
words += [["dead at once", dead.output, dead.word]]
words += [[v.mutant.kind, v.mutant.after, v.word] for v in found]
words += [["without end", "", late[0].word]]
words += [["none", "begun", verdict.word] for verdict in over]
print(json.dumps(words))
"""


def test_what_tests_notice_is_killed_and_the_rest_survives(tmp_path):
    root = tmp_path / "root"
    write(root, "vgbdm/__init__.py", "")
    text = "def double(x):\n    y = x * 2\n    if x > 5:\n        y = 0\n    return y\n"
    write(root, "vgbdm/a.py", text)
    test = "from vgbdm.a import double\n\ndef test_double():\n    assert double(2) == 4\n"
    write(root, "tests/vgbdm/test_a.py", test)
    second = test.replace("double(2) == 4", "double(9) == 0")
    write(root, "tests/vgbdm/test_b.py", second)
    program = PROGRAM.format(tests=str(TESTS), root=str(root), place=str(tmp_path / "place"))
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=QUICK)
    assert out.returncode == 0, out.stderr
    verdicts = {(kind, after): word for kind, after, word in json.loads(out.stdout)}
    assert verdicts == {
        ("none", ""): SURVIVED,
        ("operator", "y = x / 2"): KILLED,
        ("operand left out", "y = x"): KILLED,
        ("constant", "y = x * 3"): KILLED,
        ("comparison", "if x >= 5:"): SURVIVED,
        ("constant", "if x > 6:"): SURVIVED,
        ("constant", "y = 1"): KILLED,
        ("without end", ""): LATE,
        ("too many", ""): UNTRIED,
        ("dead at once", ""): KILLED,
    }
    assert (root / "vgbdm/a.py").read_text() == text
    assert (tmp_path / "place/a/0/repository/vgbdm/a.py").read_text() == text


def test_what_is_listed_as_no_fault_is_one_that_can_be_drawn():
    known = equivalents(TESTS / "mutation" / "equivalent.toml")
    every = [m for module in {entry[0] for entry in known} for m in mutants_of(REPO, module)]
    assert known <= {(m.module, m.function, m.before, m.after) for m in every}


def test_only_what_is_listed_is_no_fault(tmp_path):
    name = write(tmp_path, "vgbdm/a.py", SOURCE)
    every = mutants_of(tmp_path, name)
    chosen = every[3]
    known = {(name, "mean", chosen.before, chosen.after)}
    assert [m for m in every if is_equivalent(m, known)] == [chosen]


def test_an_entry_without_a_reason_is_refused(tmp_path):
    file = tmp_path / "equivalent.toml"
    file.write_text('[[equivalent]]\nmodule = "a"\nfunction = "b"\nbefore = "c"\nafter = "d"\n')
    with pytest.raises(SystemExit, match="without a reason"):
        equivalents(file)
    file.write_text(file.read_text() + 'reason = "e"\n')
    assert equivalents(file) == {("a", "b", "c", "d")}


def test_the_score_leaves_out_what_is_no_fault():
    counts = {"b": Counter({KILLED: 3, SURVIVED: 1, EQUIVALENT: 5}), "a": Counter(untested=1)}
    first, *rows, last = report(counts).splitlines()
    assert first.split() == ["package", KILLED, SURVIVED, EQUIVALENT]
    assert [row.split() for row in rows] == [["a", "0", "1", "0"], ["b", "3", "1", "5"]]
    assert last == "score: 60.0 % of 5 killed"


def test_a_word_that_is_no_option_is_refused():
    with pytest.raises(SystemExit, match=r"python -m tests\.mutation"):
        main(["seeds=1"])
    with pytest.raises(SystemExit, match="within=nowhere"):
        main(["within=nowhere"])
