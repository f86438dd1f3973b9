"""The group `options`: every option of every launcher gets values of any kind, and unknown ones.

What is expected follows from what the schema says of an option in words, so that a check that says
one thing and does another is found; what is accepted is given to the classes that it is for.
"""

from __future__ import annotations

import copy
import functools
import math
import random
import re
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fuzz.artefacts import Artefact
from fuzz.judging import (
    HANG,
    PATIENCE,
    REFUSED,
    RIGHT,
    SILENT,
    TRACEBACK,
    UNNAMED,
    HangError,
    Result,
    patience,
)
from vgbdm.errors import InputError
from vgbdm.options.check import check
from vgbdm.options.option import Option, options_of
from vgbdm.registry.build import build
from vgbdm.training.plan import Plan

REPO = Path(__file__).resolve().parents[2]
GIVEN: dict[str, tuple[str, ...]] = {
    "train_era5": ("store=s", "run_dir=r"),
    "train_era5 ": ("store=s", "run_dir=r", "model=vgbdm", "finetune=rollout", "path=bridge"),
    "train_era5  ": ("store=s", "run_dir=r", "model=climode", "backend=deepspeed"),
    "check": ("check.grid=1.5",),
    "train_system": ("data.train=a", "data.val=b", "path.smoothing=1.0", "path.noise=0.1"),
    "train_system ": ("data.train=a", "data.val=b", "objective=physvae", "system=rlc"),
    "convert_era5": ("store=s", "source.root=r"),
    "simulate_system": ("out=o",),
    "make_sample": ("out=o", "days=3"),
    "forecast_era5": ("run_dir=r", "store=s", "out=o"),
    "evaluate_era5": ("forecast=f", "store=s", "out=o"),
    "evaluate_system": ("runs=r", "data.test=t", "out=o"),
    "compare_forecasts": ("a=a", "b=b", "truth=t", "out=o"),
    "choose_gauge": ("runs=r",),
    "export": ("run_dir=r", "out=o"),
    "import_trajectories": ("file=f", "out=o"),
    "store": ("action=info", "store=s"),
}
"""Launcher, with blanks for another choice of classes → what must be given."""
NUMBERS = (
    -1, 0, 1, 2, 3, 7, 64, 65, 1025, 65536, 65537, 2**31, 2**63, 2**64, 10**30, 10**400, -(10**30),
    0.0, -0.0, 0.5, 1.0, 1.5, -1.5, 1e-300, 1e308, 120.0, float("nan"), float("inf"), -float("inf"),
)  # fmt: skip
OTHERS = (
    None, True, False, "", "x", "nan", "null", "1", "1.5", "true", "6h", "\x00", "a\nb", "w" * 5000,
    "2006", "../../x", [], [1], [None], [[]], [1.5, "x"], ["u10", "u10"], {}, {"a": 1}, {"": None},
    {"_target_": "os.system"}, {"_target_": 3}, {"_target_": "vgbdm.training.schedules.Constant"},
)  # fmt: skip
LIGHT = (
    "vgbdm.training.schedules.",
    "vgbdm.paths.",
    "vgbdm.dynamics.rollout.",
    "vgbdm.objectives.places.",
    "climate.models.climode.integration.",
    "climate.sources.",
    "physics_systems.systems.",
)
"""Modules whose classes are built of what was accepted."""
STARTS = 100
"""Tries after which one refusal is looked at in a launcher's own process."""


@functools.cache
def composed(name: str) -> DictConfig:
    """The config of a launcher as it is, checked once."""
    with initialize_config_dir(str(REPO / "configs"), version_base="1.3"):
        config = compose(name.strip(), list(GIVEN[name]))
    check(name.strip(), config)
    return config


@functools.cache
def options(name: str) -> tuple[Option, ...]:
    """What it may be told."""
    return tuple(options_of(name.strip(), composed(name)))


def states(option: Option, value: Any) -> bool | None:
    """Whether an option's own words allow a value; None where they are not for machines."""
    if value is None:
        return option.nullable
    if option.choices:
        return str(value).lower() in option.choices and isinstance(value, str | bool)
    if option.kind == "yes or no":
        return isinstance(value, bool)
    if option.kind == "text":
        return isinstance(value, str) and ("not empty" not in option.bounds or value != "")
    if option.kind not in ("number", "whole number"):
        return None
    kinds = (int,) if option.kind == "whole number" else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
        return False
    if isinstance(value, float) and not math.isfinite(value):
        return False
    if option.kind == "number" and abs(value) > sys.float_info.max:
        return False
    return all(holds(value, bound) for bound in option.bounds.split(", ") if bound)


def holds(value: float, bound: str) -> bool:
    """Whether a number is inside of a bound in words."""
    between = re.fullmatch(r"(\S+) … (\S+)", bound)
    if between is not None:
        return float(between[1]) <= value <= float(between[2])
    sign, _, end = bound.partition(" ")
    limit = float(end) if "^" not in end else float(2 ** int(end.partition("^")[2]))
    return {">": value > limit, "≥": value >= limit, "<": value < limit, "≤": value <= limit}[sign]


def attempt(launcher: str, config: DictConfig) -> None:
    """Check a config, and build of it what costs nothing."""
    check(launcher, config)
    values: Any = OmegaConf.to_container(config, resolve=True)
    try:
        if "trainer" in values:
            Plan(**{k: v for k, v in values["trainer"].items() if k != "threads"})
        for node in nodes(values):
            if str(node["_target_"]).startswith(LIGHT):
                build(node)
    except InputError as error:
        raise AssertionError(f"accepted, but no class takes it: {error}") from None


def nodes(tree: Any) -> Iterator[Mapping[str, Any]]:
    """All that stands for objects."""
    if isinstance(tree, dict):
        if "_target_" in tree and not tree.get("_partial_"):
            yield tree
        for child in tree.values():
            yield from nodes(child)


BESIDE = re.compile(r": want (less|more) than [a-z_.]+=")
"""A refusal of a value that would be right if another option had another one."""


def judge(name: str, key: str, value: Any, stated: bool | None) -> Result:
    """Set one value, check, and hold what came of it against the option's words."""
    shown = f"{value!r:.60}" if not isinstance(value, int) or abs(value) < 10**40 else "10**400"
    what, config = f"{name}: {key}={shown}", copy.deepcopy(composed(name))
    try:
        with patience():
            OmegaConf.update(config, key, value, force_add=True, merge=False)
            attempt(name.strip(), config)
    except HangError:
        return Result(HANG, what, f"longer than {PATIENCE:.0f} s")
    except OmegaConfBaseException as error:  # a launcher shows its first line
        return Result(REFUSED, what, str(error))
    except InputError as error:
        return refusal(what, key, str(error), stated)
    except AssertionError as error:
        return Result(SILENT, what, str(error))
    except BaseException:
        return Result(TRACEBACK, what, traceback.format_exc(limit=-4))
    return Result(SILENT, what, "accepted") if stated is False else Result(RIGHT, what)


def refusal(what: str, key: str, line: str, stated: bool | None) -> Result:
    """Whether a refusal is one short line that names the option, and is meant."""
    by_another = "divisor" in line or BESIDE.search(line)
    if stated and line.startswith(f"{key}=") and ": want " in line and not by_another:
        return Result(SILENT, what, f"refused what it says it takes: {line}")
    named = key.rpartition(".")[2] in line
    right = named and len(line) < 1200 and line.isprintable()
    return Result(REFUSED if right else UNNAMED, what, line)


def in_a_process(name: str, key: str, value: Any) -> Result:
    """The same through a launcher: exit code 2 and one line."""
    told = [str(REPO / "launch" / f"{name.strip()}.py"), *GIVEN[name], f"++{key}={value}"]
    done = subprocess.run(
        [sys.executable, *told], capture_output=True, text=True, timeout=600, check=False, cwd=REPO
    )
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    right = done.returncode == 2 and len(lines) == 1 and lines[0].startswith("error: ")
    return Result(REFUSED if right else TRACEBACK, f"process: {' '.join(told)}", done.stderr)


def tries(_: Mapping[str, Artefact], folder: Path, draw: random.Random) -> Iterator[Result]:
    """Endlessly: one value for one option of one launcher."""
    count = 0
    while True:
        name = draw.choice(sorted(GIVEN))
        option = draw.choice(options(name))
        value = draw.choice(draw.choice((NUMBERS, OTHERS)))
        if draw.random() < 0.1:
            unknown = f"{option.key}_"
            yield judge(name, unknown, value, None if within(option) else False)
            continue
        result = judge(name, option.key, value, states(option, value))
        yield result
        count += 1
        simple = isinstance(value, int | float) and abs(value) < 10**6
        if result.verdict == REFUSED and simple and count >= STARTS:
            count = 0
            yield in_a_process(name, option.key, value)


def within(option: Option) -> bool:
    """Whether an option stands where any name may be given."""
    return option.key.startswith(("schedules.", "source.fields.", "finetune.schedules."))
