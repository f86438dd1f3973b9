"""Where a page comes from."""

import re
import sys

from vgbdm.origin import software
from vgbdm.report.provenance import command_line, provenance
from vgbdm.resources import launch_folder


def test_the_command_is_that_of_a_launcher(monkeypatch):
    script = str(launch_folder() / "evaluate_era5.py")
    monkeypatch.setattr(sys, "argv", [script, "forecast=a b", "must_beat=[6,24]"])
    assert command_line() == "python launch/evaluate_era5.py 'forecast=a b' 'must_beat=[6,24]'"
    monkeypatch.setattr(sys, "argv", [script, "store=https://me:secret@host/x"])
    assert "secret" not in command_line() and "host/x" in command_line()


def test_another_program_has_no_command_of_ours(monkeypatch):
    for name in ("", "-c", "/usr/bin/pytest", "other.py"):
        monkeypatch.setattr(sys, "argv", [name, "x=1"])
        assert command_line() == ""


def test_a_page_says_what_made_it_and_when():
    told = provenance({"run": "r"})
    assert list(told) == ["run", "command", "software", "page made"]
    assert (told["run"], told["software"]) == ("r", software())
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", told["page made"])
