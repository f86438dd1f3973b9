"""A run that is killed, stopped, damaged and moved, over and over, is the run nothing happened to.

Twelve starts, each ended by a fault; before most of the next ones the newest checkpoint is damaged
or ranks and backend change. Which, when and how is drawn from `SEED`.
"""

import re
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from processes import Run, send, starter

from vgbdm.training import checkpoint

pytestmark = [pytest.mark.soak, pytest.mark.timeout(2400)]

SEED = 6
STEPS, FAULTS, SAME = 120, 12, 5
"""Of the run; starts that end badly; the first ones all have the first layout."""
SPACING = 8
"""Steps between faults, on average; what is left at the end is for a driver that comes late."""
OPTIONS = [
    "size=tiny", f"trainer.total_steps={STEPS}", "trainer.validations=4", "trainer.keep=3",
    "trainer.save_minutes=0.005", "rate.peak=5e-3", "rate.warmup=5", "validation.starts=4",
    "validation.lead=6h",
]  # fmt: skip
PATIENCE = 400
"""Seconds for a start or an end, on a machine that does much else."""


@dataclass(frozen=True)
class Layout:
    """Who starts how many ranks, or nobody, and the backend's options."""

    launcher: str
    ranks: int
    options: tuple[str, ...] = ()

    @property
    def command(self) -> list[str] | int:
        """What starts the script, see `Run`."""
        return starter(self.launcher, self.ranks) if self.launcher else self.ranks


FIRST = Layout("torchrun", 2)
ALONE = Layout("", 2)
"""The same without a launcher, for starts that nothing happens to."""
OTHERS = [
    Layout("", 1),
    Layout("deepspeed", 2, ("backend.stage=3",)),
    Layout("torchrun", 2, ("backend.stage=1",)),
    Layout("torchrun", 1, ("backend.stage=2",)),
]


@dataclass(frozen=True)
class Fault:
    """How a start ends, and what befalls the newest checkpoint then."""

    layout: Layout
    step: int
    signal: signal.Signals
    target: str
    damage: str


def draw_faults(random: np.random.Generator) -> list[Fault]:
    """Twelve of them: every kind with the first layout, and every kind with changing ones."""
    later = [*random.permutation(4), *random.permutation(4)][: FAULTS - SAME]
    layouts = [FIRST] * SAME + [OTHERS[k] for k in later]
    kill, term, usr1 = signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1
    signals = [*random.permutation([kill, kill, term, term, usr1])]
    signals += [*random.permutation([kill, kill, kill, term, term, term, usr1])]
    damages = [*random.permutation(["truncate", "flip", "", "", ""])]
    damages += [*random.permutation(["truncate", "flip", "flip", "", "", "", ""])]
    faults = []
    for k, (layout, number, damage) in enumerate(zip(layouts, signals, damages, strict=True)):
        step = SPACING * (k + 1) + int(random.integers(-2, 3))
        ranks = [str(rank) for rank in range(layout.ranks)]
        targets = ranks + (["launcher"] if number == term else [])
        target = str(random.choice(targets))
        faults.append(Fault(layout, step, signal.Signals(number), target, str(damage)))
    return faults


def start(store, run_dir, layout: Layout, *more: str, fault: Fault | None = None) -> Run:
    """A start of the training, slow enough for its fault; see `Run`."""
    faults = f"pause seconds=0.15 after={fault.step} more=1" if fault else ""
    options = [f"store={store.path}", *OPTIONS, *layout.options, *more]
    return Run(run_dir, options, "train_era5", layout.command, faults)


def rows(run_dir: Path) -> pd.DataFrame:
    """The steps in the log."""
    return pd.read_csv(run_dir / "log.csv")


def strike(run: Run, fault: Fault) -> None:
    """Wait until this start has come to the fault's step, send the signal, wait for the end."""
    log = run.run_dir / "log.csv"
    before = log.stat().st_mtime_ns if log.exists() else None

    def is_there() -> bool:
        own = log.exists() and log.stat().st_mtime_ns != before  # not of the start before
        return own and run.step() >= fault.step

    run.wait_until(is_there, PATIENCE)
    target = run.process.pid if fault.target == "launcher" else run.rank(int(fault.target))
    send(target, fault.signal)
    assert run.finish(PATIENCE) != 0


def check_status(run: Run, fault: Fault) -> None:
    """The status says what happened, and names the checkpoint that is there."""
    status = run.status()
    if fault.signal == signal.SIGKILL and fault.layout.ranks == 1:
        assert status["state"] == "running"  # nobody was left to say otherwise
        return
    last = checkpoint.find(run.run_dir, "last")
    assert status["checkpoint"] == last.name
    assert checkpoint.find_damage(last) is None
    if fault.signal == signal.SIGKILL:
        assert status["state"] == "failed", status
        assert "a peer is gone" in status["cause"]
        assert f"the last checkpoint stands: {last.name}" in status["cause"]
    else:
        reasons = (fault.signal.name, "another rank was asked to", "its launcher is gone")
        assert status["state"] == "stopped", status
        assert any(reason in status["cause"] for reason in reasons)
        assert last.name == f"step-{status['step']:08d}"
        assert status["step"] == len(rows(run.run_dir))


def check_rows(run_dir: Path, undisturbed: pd.DataFrame, same: bool) -> None:
    """Every step so far took the same samples and had the same loss, or almost."""
    log = rows(run_dir)
    theirs = undisturbed[: len(log)]
    assert log["step"].tolist() == theirs["step"].tolist()
    assert log["samples_checksum"].tolist() == theirs["samples_checksum"].tolist()
    if same:
        assert log["loss"].tolist() == theirs["loss"].tolist()
    assert (log["loss"] / theirs["loss"] - 1).abs().max() < 0.01


def whole_checkpoint(run_dir: Path) -> Path:
    """The one to go on from: the last one, or else the newest that is whole."""
    folders = sorted((run_dir / "checkpoints").glob("step-*"))
    folders.append(checkpoint.find(run_dir, "last"))
    return [folder for folder in folders if checkpoint.find_damage(folder) is None][-1]


def damage(run_dir: Path, how: str, random: np.random.Generator) -> Path:
    """Spoil a file of the last checkpoint; its folder."""
    folder = checkpoint.find(run_dir, "last")
    path = Path(random.choice(sorted(str(path) for path in folder.iterdir())))
    data = bytearray(path.read_bytes())
    place = int(random.random() * len(data) / 2)
    data[place] ^= 1 << int(random.integers(8))
    path.write_bytes(data[:place] if how == "truncate" else data)
    assert whole_checkpoint(run_dir) != folder
    return folder


def check_where_it_went_on(run: Run, start: Path, damaged: Path | None) -> None:
    """It went on from a checkpoint, and has named the damaged one."""
    text = run.text()
    begun = re.findall(r"^resuming .* at step (\d+) of", text, re.M)
    assert [int(step) for step in begun] == [checkpoint.step_of(start)], text
    warnings = run.lines(str(damaged))
    assert len([line for line in warnings if "an earlier checkpoint is looked for" in line]) == (
        damaged is not None
    ), text


def test_a_run_with_twelve_faults_is_the_run_without(store, tmp_path):
    random = np.random.default_rng(SEED)
    faults = draw_faults(random)
    with start(store, tmp_path / "undisturbed", ALONE) as run:
        assert run.finish(PATIENCE) == 0, run.text()
    undisturbed = rows(tmp_path / "undisturbed")
    assert undisturbed["step"].tolist() == list(range(1, STEPS + 1))
    assert undisturbed["samples_checksum"].nunique() == STEPS

    run_dir, whole, damaged = tmp_path / "run", None, None
    for k, fault in enumerate(faults):
        with start(store, run_dir, fault.layout, "resume=true", fault=fault) as run:
            strike(run, fault)
            check_status(run, fault)
            check_rows(run_dir, undisturbed, same=k < SAME)
            if whole:
                check_where_it_went_on(run, whole, damaged)
        damaged = damage(run_dir, fault.damage, random) if fault.damage else None
        whole = whole_checkpoint(run_dir)

    with start(store, run_dir, ALONE, "resume=true") as run:
        assert run.finish(PATIENCE) == 0, run.text()
        check_where_it_went_on(run, whole, damaged)
        last = f"step-{STEPS:08d}"
        done = {"state": "finished", "cause": "", "step": STEPS, "checkpoint": last}
        said = run.status()
        assert said.pop("train_seconds") > 0 and said == done
    check_rows(run_dir, undisturbed, same=False)
    assert len(rows(run_dir)) == STEPS
    looks = [pd.read_csv(place / "validation.csv") for place in (run_dir, tmp_path / "undisturbed")]
    assert looks[0]["step"].tolist() == looks[1]["step"].tolist()
    left = [" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"])]
    assert not [command for command in left if str(tmp_path) in command]
