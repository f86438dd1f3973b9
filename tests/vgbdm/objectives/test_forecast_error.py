"""Fine-tuning by rollout against numpy: which frames, which clock, which error."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from unlike_units import AREA, CHANGE, MEAN, STD, UnlikeUnits

from vgbdm.errors import InputError
from vgbdm.objectives.rollouts import RolloutMatching

COUNT, SIZE = 5, 3
RATES = torch.tensor([0.9, 1.2, 0.7])


class Marching(UnlikeUnits):
    """Multiplies its state by fixed rates, and adds the clock and a member's number."""

    latent_sizes = None

    def __init__(self, stochastic, grey=True):
        self.stochastic, self.grey, self.asked = stochastic, grey, None

    def members(self, seed, ids, numbers):
        if not self.stochastic:
            return None
        return (ids[:, None] % 7 + 3.0 * torch.tensor(list(numbers)) + seed).flatten()

    def follows(self, frames):
        self.ahead = torch.stack(list(frames), 1)
        return "these"

    def march(self, start, history, clock, lengths, members, checkpoint, driving):
        self.asked = (history, clock, lengths, checkpoint)
        assert driving == "these"
        members = 0.0 if members is None else members[:, None]
        state = start
        for k in range(lengths.shape[1]):
            state = state * RATES + (clock[:, :1] / 1e6 + 0.1 * k).to(state) + 0.01 * members
            yield state

    def penalty(self):
        return torch.tensor(2.5) if self.grey else None


def window(frames):
    states = MEAN + STD * torch.randn((COUNT, frames, SIZE), generator=torch.manual_seed(4))
    times = 1e5 * torch.arange(1.0, COUNT + 1)
    return SimpleNamespace(states=states, times=times, ids=torch.tensor([3, 14, 15, 92, 65]))


def march(batch, current, steps, number):
    """(B, S, C) of the member ``number``, by numpy; None: of a field without members."""
    mean, std, rates = (x.double().numpy() for x in (MEAN, STD, RATES))
    state = (batch.states[:, current].double().numpy() - mean) / std
    clock = batch.times.double().numpy()[:, None] / 1e6
    member = 0.0
    if number is not None:
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
    objective = RolloutMatching(ahead, 9, None, 3, True)
    terms = objective(field, batch, {"horizon": horizon, "prior": 0.3})
    past, clock, lengths, checkpoint = field.asked
    assert torch.equal(past, field.standardise(batch.states[:, :3])) and checkpoint
    assert torch.equal(clock[:, 0], batch.times.double())
    assert torch.equal(clock.diff(), torch.full((COUNT, steps), 3600.0).double())
    assert torch.equal(lengths, torch.ones(COUNT, steps))
    truth = truth_of(batch, 2, steps)
    assert np.allclose(field.ahead.numpy(), truth, rtol=1e-5)
    error = march(batch, 2, steps, None) - truth
    c, area = CHANGE.double().numpy(), AREA.double().numpy()
    exact = (area * (error / c) ** 2).sum(-1).mean(1)
    assert np.allclose(terms["rollout"], exact, rtol=1e-4)
    assert np.allclose(terms["loss"], exact + 0.3 * 2.5, rtol=1e-4)
    assert terms["prior"].tolist() == [2.5] * COUNT


def test_a_stochastic_field_pays_the_fair_crps_of_its_members():
    batch, field, members = window(5), Marching(True, grey=False), 3
    terms = RolloutMatching(2, 9, None, members)(field, batch, {"horizon": 2.0, "prior": 0.3})
    past, clock, _, _ = field.asked
    assert torch.equal(past, field.standardise(batch.states[:, :3]).repeat_interleave(3, 0))
    assert np.allclose(field.ahead.numpy(), truth_of(batch, 2, 2).repeat(3, 0), rtol=1e-5)
    assert torch.equal(clock[:, 0], batch.times.double().repeat_interleave(3))
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
        RolloutMatching(options[0], 0, None, options[1])
    assert RolloutMatching(1, 0, None, 2).ahead == 1
