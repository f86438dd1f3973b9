"""The command ``vgbdm``: its subcommands are found, named and run as the launchers are."""

import sys
import tomllib
from pathlib import Path

import pytest

from vgbdm import commands
from vgbdm.origin import software

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def call(monkeypatch, tmp_path, capsys):
    """Calls ``vgbdm WORDS`` over two launchers and a stranger's command; gives what it says."""
    (tmp_path / "train_it.py").write_text(
        '"""Train it.\n\nAt length."""\nimport sys\nimport helper\n'
        "print(__name__, __file__, sys.argv, helper.VALUE, sys.path[0])\n"
    )
    (tmp_path / "refuse.py").write_text('"""Refuse."""\nimport sys\nsys.exit(75)\n')
    (tmp_path / "helper.py").write_text("VALUE = 5\n")
    (tmp_path / "mylab_commands.py").write_text(
        "import sys\ndef main():\n    print('called', sys.argv)\n"
    )
    known = {
        "train-it": "vgbdm.launch.train_it",
        "refuse": "vgbdm.launch.refuse",
        "mylab": "mylab_commands:main",
        "broken": "mylab_commands:absent",
        "absent": "mylab_absent:main",
    }
    monkeypatch.setattr(commands, "registered", {"vgbdm.commands": known}.__getitem__)
    monkeypatch.setattr(commands, "launch_folder", lambda: tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.delenv("RANK", raising=False)

    def run(*words, code=0):
        monkeypatch.setattr(sys, "argv", ["vgbdm", *words])
        try:
            commands.main()
            ended = 0
        except SystemExit as end:
            ended = end.code
        assert ended == code
        for name in ("helper", "mylab_commands"):
            sys.modules.pop(name, None)
        return capsys.readouterr()

    return run


@pytest.mark.parametrize(
    "words",
    [
        ("train-it", "a=1", "--help"),
        ("--local_rank=1", "train-it", "a=1", "--help"),
        ("train-it", "a=1", "--local-rank=0", "--help"),
    ],
)
def test_a_launcher_runs_as_a_script_without_what_deepspeed_adds(call, tmp_path, words):
    script = tmp_path / "train_it.py"
    told = f"__main__ {script} {[str(script), 'a=1', '--help']} 5 {tmp_path}\n"
    assert call(*words).out == told


def test_the_exit_code_is_the_launchers(call):
    call("refuse", code=75)


def test_a_strangers_command_is_called(call):
    assert call("mylab", "a=1").out == "called ['vgbdm mylab', 'a=1']\n"


@pytest.mark.parametrize("name", ["broken", "absent"])
def test_a_strangers_command_that_is_not_there_is_one_line(call, name):
    line = call(name, code=2).err
    assert line.startswith(f"error: command {name}: mylab_") and line.count("\n") == 1


def test_an_unknown_command_is_one_line_with_the_nearest(call, monkeypatch):
    for wrong in ("train_it", "trainit"):
        line = call(wrong, "a=1", code=2).err
        assert line.startswith(f"error: command {wrong}: there is none; did you mean train-it?")
    assert "did you mean" not in call("xyz", code=2).err
    monkeypatch.setenv("RANK", "1")
    assert call("xyz", code=2) == ("", "")


@pytest.mark.parametrize("words", [(), ("--help",), ("--local_rank=0", "-h")])
def test_help_lists_all_commands_with_what_they_do(call, words):
    text = call(*words).out
    for line in ("train-it  Train it.\n", "refuse    Refuse.\n", "mylab     of mylab_commands\n"):
        assert f"  {line}" in text
    assert max(map(len, text.splitlines())) <= 100


def test_the_version_is_told(call):
    assert call("--version").out == f"{software()}\n"


def test_every_launcher_is_a_command_of_its_own_name():
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    scripts = (REPO / "launch").glob("*.py")
    launchers = {path.stem for path in scripts if "__main__" in path.read_text()}
    assert {"train_era5", "store"} <= launchers and "entry" not in launchers
    assert project["entry-points"]["vgbdm.commands"] == {
        name.replace("_", "-"): f"vgbdm.launch.{name}" for name in launchers
    }
    assert project["scripts"] == {"vgbdm": "vgbdm.commands:main"}
