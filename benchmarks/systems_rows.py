"""The rows of the systems' table, what each is given, and the sizes of the presets.

Every row of a table gets the same seconds of optimiser steps, the same number of trials, the same
inputs; what else it is given follows from its objective's config. Where a row differs on purpose it
says so here, and nowhere else.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from systems_trials import TRIALS

from vgbdm.errors import InputError

STATE, PRESET = "state", "preset"
"""The two tables: the residual sees the whole state, or what the system's preset names."""
OF_INPUTS = {STATE: ("system.presets.residual_inputs=state",), PRESET: ()}
ABLATED = ("rlc", "lorenz")
"""Systems on which VGB-DM's parts are taken away one by one."""
NO_STEP = ("trainer.total_steps=1", "trainer.validations=1", "rate.peak=1e-30")
"""A run whose weights stay as they were drawn: its one step moves them by less than they resolve.
It is built, validated and calibrated as every other."""
NO_GAUGE = "objective.schedules.gauge.start=0.0"
"""λ = 0, whatever a trial says."""


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        objective: that is trained; None: nothing is.
        about: what it is, for the page.
        options: further ones of its training.
        grey: whether it knows the physics, so that its inputs matter for θ: it stands in both
            tables.
        tuned: whether it has trials and seconds; the untrained one has none.
        like: the row of which it is an ablation, or the published form; empty: none.
        only: systems on which it stands; empty: all.
    """

    objective: str | None
    about: str
    options: tuple[str, ...] = ()
    grey: bool = False
    tuned: bool = True
    like: str = ""
    only: tuple[str, ...] = ()

    @property
    def inputs(self) -> tuple[str, ...]:
        """Tables in which it stands."""
        return (STATE, PRESET) if self.grey and not self.like else (STATE,)


def _less(about: str, *options: str) -> Row:
    """VGB-DM less one of its parts."""
    return Row("vgbdm", about, options, grey=True, like="vgbdm", only=ABLATED)


TRIVIAL = ("oracle", "physics_only", "persistence", "training_mean", "prior_mean")
TRAINED = {
    "untrained": Row("vgbdm", "VGB-DM before its first step", NO_STEP, grey=True, tuned=False),
    "blackbox": Row("blackbox", "matching without physics"),
    "node": Row("node", "neural ODE, without physics"),
    "physvae": Row("physvae", "Takeishi & Kalousis 2021", grey=True),
    "aphynity": Row("aphynity", "Yin et al. 2021", grey=True),
    "vgbdm": Row("vgbdm", "variational grey-box matching", grey=True),
    "vgbdm_published": Row(
        "vgbdm",
        "as published: coarse path, everything, no features, no refinement, no λ, intervals after "
        "the window",
        (
            "system.presets.residual_inputs=everything",
            "model.regression=null",
            "model.refinement=null",
            "objective.places.intervals=after",
            NO_GAUGE,
        ),
        grey=True,
        like="vgbdm",
    ),
    "vgbdm_linear_path": _less("VGB-DM on straight lines", "path=linear"),
    "vgbdm_no_features": _less("VGB-DM without regression features", "model.regression=null"),
    "vgbdm_no_refinement": _less("VGB-DM without refinement", "model.refinement=null"),
    "vgbdm_no_gauge": _less("VGB-DM with λ = 0", NO_GAUGE),
    "vgbdm_all_inputs": _less(
        "VGB-DM whose residual sees history and physics too",
        "system.presets.residual_inputs=everything",
    ),
}
ROWS = (*TRIVIAL, *TRAINED)
BASELINES = ("blackbox", "node", "physvae", "aphynity")
REFERENCE = "vgbdm"


@dataclass(frozen=True)
class Sizes:
    """Trajectories of the stores.

    Attributes:
        train: to train on.
        val: to validate on, and to decide refinement by.
        test: that are scored.
        prior: whose θ are of the prior, for its coverage.
        frames: of each; None: as the system's config says.
    """

    train: int
    val: int
    test: int
    prior: int
    frames: int | None = None


@dataclass(frozen=True)
class Preset:
    """How long, how often.

    Attributes:
        minutes: of optimiser steps of a run, as its thread has computed them; those of a trial are
            half as many.
        steps: instead of minutes, where a table shall be the same each time.
        seeds: runs of each row.
        jobs: side by side, of one thread each.
        sizes: of stores of systems without a grid.
        field_sizes: of those with one, which are dear.
        members: of ensembles; 19 just tell the central 90 %.
        systems: which, where no others are asked for; empty: all.
        others: rows of systems after the first; empty: all.
        options: of every training alike.
    """

    minutes: float
    seeds: int
    jobs: int
    steps: int | None = None
    sizes: Sizes = Sizes(1000, 100, 100, 250)
    field_sizes: Sizes = Sizes(250, 20, 25, 100)
    members: int = 19
    systems: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def budget(self, share: float = 1.0) -> tuple[str, ...]:
        """Options that say the length of a run, or of a share of it."""
        if self.steps is not None:
            steps = max(1, round(share * self.steps))
            return (f"trainer.total_steps={steps}", "trainer.validations=1")
        return (f"trainer.max_minutes={share * self.minutes:g}", "trainer.clock=cpu")

    def planned(self, share: float = 1.0) -> float | None:
        """Seconds of optimiser steps; None where steps are counted instead."""
        return None if self.steps is not None else 60 * share * self.minutes


TRIAL_SHARE = 0.5
PRESETS = {
    "smoke": Preset(
        0.0, 1, 2, steps=2, members=4,
        options=("system.presets.refinement=1", "system.presets.latents=1"),
        sizes=Sizes(16, 6, 6, 8, frames=48), field_sizes=Sizes(4, 2, 2, 2, frames=10),
        systems=("rlc", "pendulum", "reaction_diffusion"), others=(*TRIVIAL, "vgbdm"),
    ),
    "short": Preset(0.25, 2, 2),
    "laptop": Preset(1.0, 3, 2, options=("trainer.validations=4",)),
    "full": Preset(10.0, 5, 1),
}  # fmt: skip


class Run(NamedTuple):
    """A training: its place in the table."""

    system: str
    inputs: str
    row: str
    seed: int

    @property
    def place(self) -> str:
        """Its folder below those of runs, or of trials."""
        return f"{self.system}/{self.inputs}/{self.row}/{self.seed}"


class Kind(NamedTuple):
    """A row of one system's table: what is tuned, and then trained from several seeds."""

    system: str
    inputs: str
    row: str

    def options(self, kind: type[Any]) -> tuple[str, ...]:
        """Of its trainings, besides those of a trial.

        Args:
            kind: class of the system.
        """
        row = TRAINED[self.row]
        own = row.options
        if self.row == "vgbdm_published":  # straight lines have no acceleration
            own = (f"path={'linear' if kind.order == 1 else 'lagrange3'}", *own)
        return (
            f"system={self.system}",
            f"objective={row.objective}",
            *OF_INPUTS[self.inputs],
            *own,
        )

    def trials(self) -> list[list[str]]:
        """Options of its trials: those of its objective."""
        return TRIALS[str(TRAINED[self.row].objective)]


def same_inputs(kind: type[Any], presets: Any) -> bool:
    """Whether a system's preset names the whole state, so that its two tables are one."""
    names = [*kind.components, *(f"d{name}" for name in kind.components if kind.order == 2)]
    seen = presets["residual_inputs"]
    return seen == "state" or (not isinstance(seen, str) and set(seen) == set(names))


def kinds_of(
    preset: Preset, systems: Sequence[str], rows: Sequence[str] | None, same: Iterable[str] = ()
) -> Iterator[Kind]:
    """Trained rows of tables, by system.

    Args:
        preset: which rows the systems after the first have.
        systems: in their order.
        rows: only these; None: all.
        same: systems whose two tables are one.
    """
    for place, system in enumerate(systems):
        wanted = rows if rows is not None else (place and preset.others) or ROWS
        for name, row in TRAINED.items():
            if name in wanted and (not row.only or system in row.only):
                for inputs in row.inputs:
                    if inputs == STATE or system not in same:
                        yield Kind(system, inputs, name)


def runs_of(kinds: Sequence[Kind], seeds: int) -> list[Run]:
    """All runs, a seed after the other, each in another order.

    Two at a time share caches and memory; so a row has other neighbours each time.
    """
    runs = []
    for seed in range(1, seeds + 1):
        own = [Run(*kind, seed) for kind in kinds]
        random.Random(seed).shuffle(own)
        runs += own
    return runs


def check_names(what: str, given: Sequence[str] | None, known: Iterable[str]) -> None:
    """Refuse names that are none of the known.

    Raises:
        InputError: for the first of them.
    """
    for name in given or ():
        if name not in set(known):
            raise InputError(f"{what}={name:.60}: want some of {', '.join(known)}")


def describe_plan(preset: Preset, kinds: Sequence[Kind], runs: int, trials: int) -> str:
    """What is going to be done, in a line: runs, minutes, hours.

    Args:
        preset: of the table.
        kinds: its trained rows.
        runs: that are not done yet.
        trials: that are not done yet.
    """
    tuned = [kind for kind in kinds if TRAINED[kind.row].tuned]
    each = len(tuned[0].trials()) if tuned else 0
    besides = (runs * BESIDES_RUN + trials * BESIDES_TRIAL) / 60
    if preset.steps is not None:
        length, minutes = f"{preset.steps} steps", 0.0
    else:
        length = f"{preset.minutes:g} min"
        minutes = preset.minutes * (runs + TRIAL_SHARE * trials)
    hours = (minutes + besides) / 60 / preset.jobs
    return (
        f"{len(kinds)} trained rows; {trials} trials ({each} a row, half of {length}, one seed) "
        f"and {runs} runs of {length} to do, {preset.jobs} at a time on one thread each: "
        f"{minutes:.0f} min of steps and about {besides:.0f} min besides, {hours:.1f} h"
    )


BESIDES_RUN, BESIDES_TRIAL = 40.0, 12.0
"""Seconds of start-up, validations and scoring on one thread: CPU seconds of Lorenz, on a busy
machine."""
