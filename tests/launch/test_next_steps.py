"""The last line of a launcher names a command that starts as this one was started."""

import sys

import pytest
from ending import command, then


@pytest.mark.parametrize(
    ("words", "start"),
    [
        (["python", "launch/simulate_system.py"], "python launch/train_system.py"),
        (["python", "/usr/bin/vgbdm", "simulate-system"], "vgbdm train-system"),
        (["python", "-u", "-m", "vgbdm", "simulate-system"], "vgbdm train-system"),
        (["python", "-c", "…", "out=vgbdm-runs"], "python launch/train_system.py"),
    ],
)
def test_a_next_command_is_of_the_kind_of_this_one(words, start, monkeypatch, capsys):
    monkeypatch.setattr(sys, "orig_argv", words)
    monkeypatch.setattr(sys, "argv", ["launch/simulate_system.py"])
    then(command("train_system", "data.train=my stores/a", "run_dir=RUN"))
    shown = capsys.readouterr().out
    assert shown == f"next: {start} 'data.train=my stores/a' run_dir=RUN\n"
