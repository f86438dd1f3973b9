"""What holds for every field by every objective of the engine: weather and systems alike."""

import copy

import pytest
import torch
from engine_pairs import CLIMODE, FIELDS, OBJECTIVES, PAIRS, REFUSED, VALUES, case, untouched
from safetensors.torch import load, save

from vgbdm.errors import InputError
from vgbdm.fields.grey_box import GreyBoxField


@pytest.mark.parametrize(("name", "objective"), REFUSED)
def test_what_cannot_work_together_is_refused_in_one_line(name, objective):
    with pytest.raises(InputError, match=r"^(matching|objective|aphynity|physvae): "):
        OBJECTIVES[objective](1)(*case(name, objective), VALUES)


@pytest.mark.parametrize(("name", "objective"), PAIRS)
def test_every_parameter_gets_a_gradient(name, objective):
    field, batch = case(name, objective)
    assert isinstance(field, GreyBoxField) == (name != CLIMODE)
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
    drawn = objective != "likelihood" and not (
        objective == "rollout of members" and name in ("gbdm", "blackbox")
    )
    assert torch.equal(losses[0], losses[2]) != (
        drawn and not (objective in ("rollout", "aphynity") and name in ("gbdm", "blackbox"))
    )


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_saved_and_loaded_is_the_same(name):
    kind = "likelihood" if name == CLIMODE else "rollout"
    objective = OBJECTIVES[kind](1)
    field, batch = case(name, kind)
    other = copy.deepcopy(field)
    with torch.no_grad():
        for values in (*other.parameters(), *other.buffers()):
            if values.is_floating_point():
                values.mul_(0.5)
    weights = load(save({k: v.contiguous() for k, v in field.state_dict().items()}))
    different = objective(other, batch, VALUES)["loss"]
    assert not torch.equal(different, objective(field, batch, VALUES)["loss"])
    fresh = copy.deepcopy(untouched(name, kind))
    with torch.no_grad():
        for values in fresh.state_dict().values():  # those that are saved, buffers among them
            if values.is_floating_point():
                values.mul_(0.5)
    fresh.load_state_dict(weights)
    assert torch.equal(
        objective(fresh, batch, VALUES)["loss"], objective(field, batch, VALUES)["loss"]
    )


def gradient(name, objective, *parts):
    """Sums over the samples of each part, by parameter, as ranks and micro-batches add them."""
    field, _ = case(name, objective)
    for rows in parts:
        terms = OBJECTIVES[objective](1)(field, case(name, objective, rows)[1], VALUES)
        terms["loss"].sum().backward()
    return torch.cat([p.grad.flatten() for p in field.parameters() if p.grad is not None])


@pytest.mark.parametrize(("name", "objective"), PAIRS)
def test_micro_batches_and_ranks_change_no_gradient(name, objective):
    whole = gradient(name, objective, [0, 1, 2, 3, 4])
    parts = gradient(name, objective, [0, 2, 4], [1, 3])
    # PhysVAE's encoder takes gradients through least squares, which multiply rounding
    bound = 1e-3 if objective == "physvae" else 1e-5
    assert float((whole - parts).norm() / whole.norm()) < bound
