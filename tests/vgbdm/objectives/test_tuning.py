"""Fine-tuning by rollout against numpy: which frames, which clock, which error."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from unlike_units import AREA, CHANGE, MEAN, STD, UnlikeUnits

from vgbdm.errors import InputError
from vgbdm.objectives.tuning import RolloutTuning

COUNT, SIZE = 5, 3
RATES = torch.tensor([0.9, 1.2, 0.7])


class Marching(UnlikeUnits):
    """Multiplies its state by fixed rates, and adds the clock and a member's number."""

    def __init__(self, stochastic, grey=True):
        self.stochastic, self.grey, self.asked = stochastic, grey, None

    def members(self, seed, ids, numbers):
        return (ids[:, None] % 7 + 3.0 * torch.tensor(list(numbers)) + seed).flatten()

    def simulate(self, past, times, steps, members, checkpoint):
        self.asked = (past, times, steps, checkpoint)
        state = self.standardise(past[:, -1])
        for k in range(steps):
            state = state * RATES + (times[:, None] / 1e6 + 0.1 * k) + 0.01 * members[:, None]
            yield state

    def penalty(self):
        return torch.tensor(2.5) if self.grey else None


def window(frames):
    states = MEAN + STD * torch.randn((COUNT, frames, SIZE), generator=torch.manual_seed(4))
    times = 1e5 * torch.arange(1.0, COUNT + 1)
    return SimpleNamespace(states=states, times=times, ids=torch.tensor([3, 14, 15, 92, 65]))


def march(batch, current, steps, number):
    """(B, S, C) of the member ``number``, by numpy."""
    mean, std, rates = (x.double().numpy() for x in (MEAN, STD, RATES))
    state = (batch.states[:, current].double().numpy() - mean) / std
    clock = batch.times.double().numpy()[:, None] / 1e6
    member = (batch.ids.numpy() % 7 + 3.0 * number + 9)[:, None]
    found = []
    for k in range(steps):
        state = state * rates + clock + 0.1 * k + 0.01 * member
        found.append(state)
    return np.stack(found, 1)


def truth_of(batch, current, steps):
    mean, std = MEAN.double().numpy(), STD.double().numpy()
    return (batch.states[:, current + 1 : current + 1 + steps].double().numpy() - mean) / std


@pytest.mark.parametrize(("horizon", "steps"), [(2.0, 2), (2.6, 3), (0.2, 1), (9.0, 4)])
def test_a_deterministic_field_pays_its_square_error(horizon, steps):
    batch, field, ahead = window(7), Marching(False), 4
    objective = RolloutTuning(ahead, 3, True, 9)
    terms = objective(field, batch, {"horizon": horizon, "prior": 0.3})
    past, times, asked, checkpoint = field.asked
    assert torch.equal(past, batch.states[:, :3]) and torch.equal(times, batch.times)
    assert (asked, checkpoint) == (steps, True)
    error = march(batch, 2, steps, 0) - truth_of(batch, 2, steps)
    c, area = CHANGE.double().numpy(), AREA.double().numpy()
    exact = (area * (error / c) ** 2).sum(-1).mean(1)
    assert np.allclose(terms["rollout"], exact, rtol=1e-4)
    assert np.allclose(terms["loss"], exact + 0.3 * 2.5, rtol=1e-4)
    assert terms["prior"].tolist() == [2.5] * COUNT


def test_a_stochastic_field_pays_the_fair_crps_of_its_members():
    batch, field, members = window(5), Marching(True, grey=False), 3
    terms = RolloutTuning(2, members, False, 9)(field, batch, {"horizon": 2.0, "prior": 0.3})
    past, times, _, _ = field.asked
    assert torch.equal(past, batch.states[:, :3].repeat_interleave(3, 0))
    assert torch.equal(times, batch.times.repeat_interleave(3))
    c, area = CHANGE.double().numpy(), AREA.double().numpy()
    drawn = np.stack([march(batch, 2, 2, m) for m in range(members)]) / c
    truth = truth_of(batch, 2, 2) / c
    pairs = np.abs(drawn[:, None] - drawn[None]).sum((0, 1)) / (members * (members - 1))
    score = np.abs(drawn - truth).mean(0) - 0.5 * pairs
    exact = (area * score).sum(-1).mean(1)
    assert np.allclose(terms["rollout"], exact, rtol=1e-4)
    assert torch.equal(terms["loss"], terms["rollout"]) and set(terms) == {"loss", "rollout"}


@pytest.mark.parametrize("options", [(0, 2), (1, 1)])
def test_rollouts_without_steps_or_ensembles_of_one_are_refused(options):
    with pytest.raises(InputError, match="at least 1 step and 2 members"):
        RolloutTuning(*options, False, 0)
    assert RolloutTuning(1, 2, False, 0).ahead == 1
