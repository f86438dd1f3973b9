"""The trainings that two checkouts are compared by: every model and objective, small."""

from pathlib import Path
from typing import NamedTuple

PATHS = sorted(p.stem for p in (Path(__file__).parents[1] / "configs" / "path").glob("*.yaml"))
SYSTEMS = ("rlc", "pendulum", "lorenz", "reaction_diffusion")
METHODS = ("vgbdm", "blackbox", "node", "aphynity", "physvae")
LAYOUTS = {"single": 1, "ddp": 2}
"""Configs of the group `backend`, and ranks."""

WEATHER = (
    "size=tiny", "batch=8", "trainer.validations=1", "validation.starts=2", "validation.members=2",
)  # fmt: skip
LATENTS = ("model.latents.points=12", "model.latents.width=8")
SHORT = ("objective.ahead=2", "model.solver.substeps=2")
TUNE = ("finetune=rollout", "finetune.objective.ahead=2")
REGION = ("task=regional", "region=[-35,50,340,60]", "halo=2")
"""Crosses Greenwich."""
HOURS = ("validation.lead=6h",)
MONTHS = ("task=monthly", "validation.lead=1mo", "stream.block_steps=12")
SYSTEM = (
    "batch=8", "trainer.validations=1", "validation.limit=4", "system.presets.horizon=4",
    "model.features=16",
)  # fmt: skip
NARROW = ("system.presets.encoder.width=16",)
GRU = ("model.encoder={_target_: vgbdm.latents.encoders.WindowGRU, _partial_: true, width: 8}",)


class Run(NamedTuple):
    """A training of both checkouts.

    Attributes:
        name: of it.
        script: of the folder ``launch``.
        options: of its command line.
        data: whose store it trains on: hours, months, or a system.
        after: name of the run whose best weights it starts from.
    """

    name: str
    script: str
    options: tuple[str, ...]
    data: str
    after: str = ""


def weather() -> list[Run]:
    """Every model, path, kind of operators and task, and the stage after matching."""
    plain = {
        "gbdm": (), "vgbdm": LATENTS, "vgbdm_phased": LATENTS, "blackbox": (), "climode": SHORT,
    }  # fmt: skip
    variants: list[tuple[str, tuple[str, ...]]] = [
        *((model, ()) for model in plain),
        *(("gbdm", (f"path={p}",)) for p in PATHS),
        ("vgbdm", ("path=bridge",)),
        ("gbdm", ("operators=spectral", "task=hourly")),
        ("gbdm", ("operators=finite_difference",)),
        ("climode", ("operators=finite_difference",)),
        ("gbdm", ("model.source=false",)),
        ("vgbdm", ("history=0",)),
        ("gbdm", ("model.dropout=0.1",)),
        ("climode", ("model.solver.gradient=adjoint",)),
        ("vgbdm", ("backend.accumulation=2", "backend.ema=0.9")),
        *((model, REGION) for model in ("gbdm", "vgbdm", "blackbox")),
        *((model, MONTHS) for model in ("gbdm", "vgbdm", "blackbox")),
    ]
    runs = []
    for model, more in variants:
        name = " ".join(["weather", model, *more[: 1 if more in (REGION, MONTHS) else None]])
        lead = () if more is MONTHS else HOURS
        options = (f"model={model}", *WEATHER, *plain[model], *lead, *more)
        runs.append(Run(name, "train_era5", options, "months" if more is MONTHS else "hours"))
    for model in ("gbdm", "vgbdm", "blackbox"):
        options = (f"model={model}", *WEATHER, *HOURS, *plain[model], *TUNE)
        name, first = f"weather {model} finetune=rollout", f"weather {model}"
        runs.append(Run(name, "train_era5", options, "hours", first))
    options = ("model=vgbdm", *WEATHER, *HOURS, *LATENTS, "finetune=draws")
    runs.append(Run("weather vgbdm finetune=draws", "train_era5", options, "hours", "weather gbdm"))
    return runs


def systems() -> list[Run]:
    """Every system by every objective, and on Lorenz every path, encoder and choice of windows."""
    runs = []
    for system in SYSTEMS:
        for method in METHODS:
            options = (f"system={system}", f"objective={method}", *SYSTEM, *NARROW, "path=hermite")
            runs.append(Run(f"{system} {method}", "train_system", options, system))
        options = (f"system={system}", "objective=rollout", *SYSTEM, *NARROW, "path=hermite")
        first = f"{system} vgbdm"
        runs.append(Run(f"{system} rollout", "train_system", options, system, first))
    variants: list[tuple[str, str, tuple[str, ...]]] = [
        *(("lorenz", f"path={p}", ()) for p in PATHS if p != "hermite"),
        ("pendulum", "path=lagrange3", ()),
        ("pendulum", "path.smoothing=1.0", ()),
        ("lorenz", "objective.places.intervals=window", ()),
        ("lorenz", "objective.places.intervals=after", ()),
        ("lorenz", "model.residual_inputs=state", ()),
        ("lorenz", "model.residual_inputs=everything", ()),
        ("lorenz", "system.presets.refinement=0", ()),
        ("lorenz", "encoder=WindowGRU", GRU),
    ]
    for system, word, options in variants:
        told = options or (word, *NARROW)
        words = (f"system={system}", "objective=vgbdm", *SYSTEM, *told)
        runs.append(Run(f"{system} vgbdm {word}", "train_system", words, system))
    return runs


def chosen(only: str) -> list[tuple[Run, str]]:
    """Runs and layouts whose names hold ``only``, with what they start from before them."""
    runs = {run.name: run for run in (*weather(), *systems())}
    names = [(run.name, layout) for layout in LAYOUTS for run in runs.values()]
    wanted = {(name, layout) for name, layout in names if only in f"{name} {layout}"}
    wanted |= {(runs[name].after, layout) for name, layout in wanted if runs[name].after}
    return [(runs[name], layout) for name, layout in names if (name, layout) in wanted]
