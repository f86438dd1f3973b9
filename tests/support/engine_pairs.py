"""Every field by every objective of the engine, and which of the pairs can work together."""

import copy
import functools

import climode
import torch
import weather
from system_fields import batch_of, make_field, smooth

from climate.stream.batches import WeatherBatch
from climate.training.likelihood import GaussianLikelihood
from vgbdm.objectives.aphynity import Aphynity
from vgbdm.objectives.matching import Matching
from vgbdm.objectives.physvae import PhysVAE
from vgbdm.objectives.places import LastInterval, WindowSampler
from vgbdm.objectives.rollouts import RolloutMatching
from vgbdm.paths.bridge import BridgePath
from vgbdm.paths.hermite import HermitePath

VALUES = {
    "beta_theta": 0.3, "beta_zeta": 0.2, "gauge": 0.1, "physics": 0.8, "noise": 0.1, "crps": 0.4,
    "prior": 0.01, "horizon": 2.0, "multiplier": 1.5, "balance": 0.1, "unmixing": 0.1,
    "self_supervision": 0.1,
}  # fmt: skip

SYSTEMS = {
    "rlc": {},
    "rlc, everything": {"inputs": "everything"},
    "rlc, black box": {"grey": False},
    "pendulum": {},
    "reaction_diffusion": {},
}
WEATHER = {
    "gbdm": {},
    "vgbdm": {"latents": weather.make_latents(channels=1, points=12)},
    "blackbox": {"physics": False},
    "stochastic blackbox": {
        "physics": False, "latents": weather.make_latents(channels=1, points=12)
    },
}  # fmt: skip
OBJECTIVES = {
    "matching": lambda seed: Matching(HermitePath(3), WindowSampler(2, "trajectory", seed), seed),
    "matching a bridge": lambda seed: Matching(BridgePath(), LastInterval(seed), seed),
    "rollout": lambda seed: RolloutMatching(2, seed, HermitePath(3)),
    "rollout of members": lambda seed: RolloutMatching(2, seed, None, 3, True),
    "aphynity": lambda seed: Aphynity(2, seed, HermitePath(3)),
    "physvae": lambda seed: PhysVAE(2, seed, HermitePath(3)),
    "likelihood": lambda seed: GaussianLikelihood(2),
}
CLIMODE = "climode"
"""It integrates states and winds together, from winds fitted to the past: no tendency to match."""
SMALL = weather.Grid(-90 + 22.5 * (torch.arange(8).numpy() + 0.5), torch.arange(16).numpy() * 22.5)


def fits(name, objective):
    """Whether an objective can be asked of a field."""
    if name == CLIMODE or objective == "likelihood":
        return name == CLIMODE and objective == "likelihood"
    known = "black" not in name
    if objective == "physvae":  # unmixing is a part of the systems' encoder
        return name in SYSTEMS and known
    if objective == "matching" and name in WEATHER:
        return "latents" not in WEATHER[name]  # a window's posterior sees the next state alone
    if objective == "rollout of members":
        return name != "pendulum"  # without a path its frames show no velocities
    return known or objective != "aphynity"


@functools.cache
def untouched(name, objective):
    """A field away from its start."""
    if name == CLIMODE:
        field = climode.make_climode(climode.GRIDS["small"])
        climode.shake(field.trunk.last, field.attention.mix, field.emission.trunk.last)
        return field
    if name in WEATHER:
        field = weather.make_model(SMALL, history=1, **WEATHER[name])
        weather.shake(field)
        return field
    unmixing = objective == "physvae" and "black" not in name
    options = {"unmixing": unmixing} | SYSTEMS[name]
    system = name.split(",")[0]
    field = make_field(system, shake=0.3, data=smooth(system, 6), **options)
    if field.unmixing is not None:
        torch.nn.init.normal_(field.unmixing.last.weight, 0, 0.1)
    return field


def case(name, objective, rows=None):
    """A field and a batch of its kind, of some rows."""
    field = copy.deepcopy(untouched(name, objective))
    rows = list(range(5)) if rows is None else rows
    if name == CLIMODE:
        windows = climode.smooth_states(field, 5, field.history + 3)
        with torch.no_grad():
            winds = field.fit_wind(field.standardise(windows[:, : field.history + 1]))
        ids = torch.arange(5)
        whole = WeatherBatch(windows, ids * 21600.0, ids, torch.ones(5), winds)
        return field, whole._map(lambda values: values[rows])
    if name in WEATHER:
        frames = 3 if objective == "matching a bridge" else 4
        window = weather.states(untouched(name, objective), 5, frames)
        return field, weather.Batch(window[rows], rows)
    data = smooth(name.split(",")[0], 6)
    batch = batch_of(data, HermitePath(3), rows)
    return field, batch


FIELDS = (*SYSTEMS, *WEATHER, CLIMODE)
PAIRS = [(f, o) for f in FIELDS for o in OBJECTIVES if fits(f, o)]
REFUSED = [(f, o) for f in FIELDS for o in OBJECTIVES if not fits(f, o)]
