"""A run keeps what its console said, within bounds."""

import logging

import pytest
from tiny import make_trainer

from vgbdm.progress import say
from vgbdm.storage import masking
from vgbdm.training import console
from vgbdm.training.backends.torch import SingleBackend
from vgbdm.training.console import CONSOLE, OLDER, kept_console
from vgbdm.training.run_folder import check_run_dir, owned


@pytest.fixture
def backend():
    return SingleBackend(precision="fp32", clip=1.0, accumulation=1)


def lines(folder):
    """What was said, without the times."""
    return [line[20:] for line in (folder / CONSOLE).read_text().splitlines()]


def test_a_run_keeps_its_lines_and_a_resumed_one_appends(tmp_path, backend):
    for resume in (False, True):
        with owned(tmp_path / "run", backend, resume):
            make_trainer(tmp_path / "run").fit()
            logging.getLogger("x").warning("a warning")
    said = lines(tmp_path / "run")
    assert sum(line.startswith("--- vgbdm ") for line in said) == 2
    assert said.count("a warning") == 2
    assert sum("validation score" in line for line in said) > 1
    logging.getLogger("x").warning("later")
    say("later")
    assert lines(tmp_path / "run") == said


def test_how_it_ended_is_kept_and_credentials_are_not(tmp_path, monkeypatch):
    monkeypatch.setattr(masking, "_known", set())
    masking.remember({"key": {"password": "hunter22"}})
    with pytest.raises(ValueError), kept_console(tmp_path):
        raise ValueError("refused hunter22")
    assert lines(tmp_path)[-1] == "refused ***"


def test_a_start_that_failed_leaves_a_log_in_nobodys_way(tmp_path, backend):
    run_dir = tmp_path / "run"
    with pytest.raises(ValueError), owned(run_dir, backend, False):
        raise ValueError("first")
    (run_dir / OLDER).write_text("older")
    check_run_dir(run_dir, False)
    with owned(run_dir, backend, False):
        pass
    assert "first" not in (run_dir / CONSOLE).read_text() and not (run_dir / OLDER).exists()


def test_its_size_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(console, "MOST", 1000)
    with kept_console(tmp_path):
        for number in range(200):
            say(f"line {number}")
    names = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert names.keys() == {CONSOLE, OLDER} and max(names.values()) <= 1000
    assert lines(tmp_path)[-1] == "line 199"


def test_no_link_is_followed_and_nothing_is_raised(tmp_path, capsys):
    victim = tmp_path / "victim"
    victim.write_text("kept")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / CONSOLE).symlink_to(victim)
    with kept_console(tmp_path / "run"):
        say("a word")
    assert victim.read_text() == "kept" and capsys.readouterr().out == "a word\n"
