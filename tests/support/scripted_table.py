"""A table of systems without any training: launchers are stood in for by what they would write."""

import json
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path.append(str(REPO / "benchmarks"))

import systems  # noqa: E402
import systems_rows  # noqa: E402
import systems_table  # noqa: E402
import systems_training  # noqa: E402
from systems_rows import Preset  # noqa: E402
from systems_trials import TRIALS  # noqa: E402

BEST = TRIALS["vgbdm"][1]
"""The trial that validates best here, of each row."""
LENGTH = Preset(1.0, 2, 1)
ROWS_TRIED = ("oracle", "persistence", "untrained", "blackbox", "vgbdm")
SECONDS = {"trials": 30.0, "runs": 60.0, "sanity": 0.0}


class Killed(BaseException):
    """As a signal nobody can catch: whatever is in memory is lost."""


class Launcher:
    """Writes what launchers write, and notes what it was asked.

    Args:
        dies_at: the call, from 1, in which it is killed before anything is written.
    """

    def __init__(self, dies_at=None):
        self.calls, self.dies_at = [], dies_at

    def __call__(self, name, log, *options):
        self.calls.append((name, options))
        if len(self.calls) == self.dies_at:
            raise Killed
        told = dict(option.split("=", 1) for option in options)
        getattr(self, name)(told)
        return ""

    def simulate_system(self, told):
        Path(told["out"]).mkdir(parents=True)

    def train_system(self, told):
        folder = Path(told["run_dir"])
        folder.mkdir(parents=True, exist_ok=True)
        score = (
            0.1
            + 0.01 * int(told["seed"])
            - (f"rate.peak={told.get('rate.peak')}" == BEST[0]) * 0.05
        )
        (folder / "best.json").write_text(json.dumps({"score": score}))

    def systems_scores(self, told):
        place = Path(told["run"])
        if told["sanity"] == "true":
            lines = [{"row": row, **scored(False, 1.0)} for row in systems_rows.TRIVIAL]
        else:
            seen = "state" if "/state/" in str(place) else "I"
            better = 0.5 if "vgbdm" in str(place) else 2.0
            lines = [
                {**scored(way, better * (1 + way)), "validation_mse": 2.0 - way, "given": "same",
                 "residual_inputs": "state" if "blackbox" in str(place) else seen}
                for way in (True, False)
            ]  # fmt: skip
        Path(told["out"]).write_text(json.dumps({"lines": lines}))


def scored(refined, mse):
    errors = " ".join(f"{mse * (0.9 + 0.02 * k):.3g}" for k in range(10))
    return {"refined": refined, "mse": mse, "n": 10, "n_failed": 0, "errors": errors}


def no_training(monkeypatch):
    """What runs leave behind is that of `Launcher`; the machine is not asked."""

    def record(folder):
        score = json.loads((folder / "best.json").read_text())["score"]
        seconds = next(s for name, s in SECONDS.items() if f"/{name}/" in str(folder))
        return {"score": score, "steps": 7, "train_seconds": seconds, "curve": "0:2 30:1"}

    monkeypatch.setattr(systems_training, "record_of", record)
    here = {"commit": "abc", "machine": "m", "load": 0.5}
    monkeypatch.setattr(systems_table, "here", lambda: dict(here))
    monkeypatch.setattr(systems, "one_table", lambda system: False)


def table_in(out, launch, rows=ROWS_TRIED, preset=LENGTH):
    return systems.Table(out, preset, ["rlc"], rows, launch)


def made(out):
    launch = Launcher()
    table_in(out, launch).make()
    return launch.calls
