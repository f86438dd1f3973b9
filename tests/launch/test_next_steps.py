"""The last line of a launcher names a command that starts as this one was started."""

import importlib
import sys

import pytest
from ending import command, then
from omegaconf import OmegaConf


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


@pytest.mark.parametrize(
    ("grid", "told"),
    [
        (1.5, "convert data; then the same command with store=STORE run_dir=RUN for check.…"),
        (None, "the same command with train-era5 for check"),
    ],
)
def test_a_check_is_followed_by_what_it_was_made_for(grid, told, monkeypatch, capsys):
    did = []
    monkeypatch.setattr("climate.planning.plan.plan", lambda cfg: did.append(1.5))
    monkeypatch.setattr("climate.training.preflight.preflight", lambda cfg: did.append(None))
    cfg = OmegaConf.create({"check": {"grid": grid}})
    importlib.import_module("check").main(cfg)
    assert capsys.readouterr().out == f"next: {told}\n"
    monkeypatch.setenv("RANK", "1")
    importlib.import_module("check").main(cfg)
    assert not capsys.readouterr().out and did == [grid, grid]
