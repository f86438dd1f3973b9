"""What holds for every field by every objective of the engine: weather and systems alike."""

import copy
import functools

import pytest
import torch
import weather
from safetensors.torch import load, save
from systems import batch_of, make_field, smooth

from vgbdm.errors import InputError
from vgbdm.fields.grey_box import GreyBoxField
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
}
SMALL = weather.Grid(-90 + 22.5 * (torch.arange(8).numpy() + 0.5), torch.arange(16).numpy() * 22.5)


def fits(name, objective):
    """Whether an objective can be asked of a field."""
    known = "black" not in name
    if objective == "physvae":  # unmixing is a part of the systems' encoder
        return name in SYSTEMS and known
    if objective == "matching" and name in WEATHER:
        return "latents" not in WEATHER[name]  # a window's posterior sees the next state alone
    if objective == "rollout of members":
        return name != "pendulum"  # without a path its frames show no velocities
    return known or objective != "aphynity"


PAIRS = [(f, o) for f in (*SYSTEMS, *WEATHER) for o in OBJECTIVES if fits(f, o)]


@functools.cache
def untouched(name, objective):
    """A field away from its start."""
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
    if name in WEATHER:
        frames = 3 if objective == "matching a bridge" else 4
        window = weather.states(untouched(name, objective), 5, frames)
        return field, weather.Batch(window[rows], rows)
    data = smooth(name.split(",")[0], 6)
    batch = batch_of(data, HermitePath(3), rows)
    return field, batch


REFUSED = [(f, o) for f in (*SYSTEMS, *WEATHER) for o in OBJECTIVES if not fits(f, o)]


@pytest.mark.parametrize(("name", "objective"), REFUSED)
def test_what_cannot_work_together_is_refused_in_one_line(name, objective):
    with pytest.raises(InputError, match=r"^(matching|objective|aphynity|physvae): "):
        OBJECTIVES[objective](1)(*case(name, objective), VALUES)


@pytest.mark.parametrize(("name", "objective"), PAIRS)
def test_every_parameter_gets_a_gradient(name, objective):
    field, batch = case(name, objective)
    assert isinstance(field, GreyBoxField)
    terms = OBJECTIVES[objective](1)(field, batch, VALUES)
    assert all(term.shape == (5,) and term.isfinite().all() for term in terms.values())
    terms["loss"].mean().backward()
    unused = ("latents.posterior.", "encoder.", "merge.", "zeta_head.", "theta_head.")
    silent = [
        n
        for n, p in field.named_parameters()
        if (p.grad is None or not p.grad.any())
        and not (objective == "rollout of members" and n.startswith(unused))
    ]
    assert silent == []


@pytest.mark.parametrize(("name", "objective"), PAIRS)
def test_what_is_beside_a_sample_does_not_change_it(name, objective):
    rows = [3, 1]
    whole = OBJECTIVES[objective](1)(*case(name, objective), VALUES)
    part = OBJECTIVES[objective](1)(*case(name, objective, rows), VALUES)
    for term, values in part.items():
        assert torch.allclose(values, whole[term][rows], rtol=1e-4, atol=1e-7), term


@pytest.mark.parametrize(("name", "objective"), PAIRS)
def test_all_randomness_is_keyed_by_the_seed(name, objective):
    losses = []
    for state, seed in ((1, 1), (2, 1), (1, 2)):
        torch.manual_seed(state)
        losses.append(OBJECTIVES[objective](seed)(*case(name, objective), VALUES)["loss"])
    assert torch.equal(losses[0], losses[1])
    drawn = not (objective == "rollout of members" and name in ("gbdm", "blackbox"))
    assert torch.equal(losses[0], losses[2]) != (
        drawn and not (objective in ("rollout", "aphynity") and name in ("gbdm", "blackbox"))
    )


@pytest.mark.parametrize("name", [*SYSTEMS, *WEATHER])
def test_a_field_saved_and_loaded_is_the_same(name):
    objective = OBJECTIVES["rollout"](1)
    field, batch = case(name, "rollout")
    other = copy.deepcopy(field)
    with torch.no_grad():
        for values in (*other.parameters(), *other.buffers()):
            if values.is_floating_point():
                values.mul_(0.5)
    weights = load(save({k: v.contiguous() for k, v in field.state_dict().items()}))
    different = objective(other, batch, VALUES)["loss"]
    assert not torch.equal(different, objective(field, batch, VALUES)["loss"])
    fresh = copy.deepcopy(untouched(name, "rollout"))
    with torch.no_grad():
        for values in fresh.state_dict().values():  # those that are saved, buffers among them
            if values.is_floating_point():
                values.mul_(0.5)
    fresh.load_state_dict(weights)
    assert torch.equal(
        objective(fresh, batch, VALUES)["loss"], objective(field, batch, VALUES)["loss"]
    )
