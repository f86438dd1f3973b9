"""Validation: one score for every model, ensembles beside it, the same on any number of ranks."""

import numpy as np
import pytest
import torch
from weather import make_latents

from climate.models.blackbox import BlackBox
from climate.models.domain import Domain
from climate.validation import RolloutValidation
from vgbdm.errors import InputError
from vgbdm.scores import crps, spread_skill


class Ranks:
    """A backend that stands for one rank of several."""

    device = torch.device("cpu")

    def __init__(self, rank=0, world_size=1):
        self.rank, self.world_size, self.sums = rank, world_size, []

    def sum(self, values):
        self.sums.append(values.clone())
        return values


class Noisy:
    """The truth plus noise: members one by one, and their mean is right."""

    stochastic = True

    def __init__(self, store, stride=6):
        self.store, self.stride = store, stride
        self.change, self.scale = torch.full((3, 1, 1), 0.5), torch.full((3, 1, 1), 2.0)

    def _truth(self, times, steps):
        start = self.store.times.astype("datetime64[s]").astype(np.int64).tolist()
        rows = [start.index(int(t)) for t in times]
        frames = [[r + self.stride * (k + 1) for k in range(steps)] for r in rows]
        state = torch.from_numpy(self.store.read(0, len(start)))
        return torch.stack([state[f] for f in frames])

    def forecast(self, past, times, steps):
        return self._truth(times, steps) + 2.0

    def forecast_ensemble(self, past, times, steps, members, seed):
        truth = self._truth(times, steps)
        generator = torch.manual_seed(seed)
        noise = torch.randn((len(times), members, *truth.shape[1:]), generator=generator)
        return truth[:, None] + noise


def validation(store, backend, **options):
    settings = {"step": np.timedelta64(6, "h"), "history": 1, "lead": np.timedelta64(12, "h")}
    settings |= {"starts": 10, "batch": 4, "members": 6, "seed": 0} | options
    return RolloutValidation(store, backend, **settings)


def test_the_score_is_that_of_the_forecast_and_members_are_scored_beside_it(store):
    scores = validation(store, Ranks())(Noisy(store))
    assert scores["score"] == pytest.approx(2.0, rel=1e-3)  # error 2 in units of change 1
    assert scores["rmse_z_12h"] == pytest.approx(2.0, rel=1e-3)
    # members N(0, 1) about the truth: CRPS = E|X| - ½ E|X - X'|, the mean's error is 1/√6
    want = np.sqrt(2 / np.pi) - 1 / np.sqrt(np.pi)
    assert scores["crps_z_6h"] == pytest.approx(want, rel=0.1)
    assert scores["spread_skill_u10_6h"] == pytest.approx(np.sqrt(7), rel=0.1)
    members = torch.randn((6, 5000), generator=torch.manual_seed(0))
    assert float(crps(members, torch.zeros(5000)).mean()) == pytest.approx(want, rel=0.05)
    assert spread_skill(members, torch.zeros(5000)) == pytest.approx(np.sqrt(7), rel=0.05)


def test_ranks_share_the_starts_and_count_each_once(store):
    whole = Ranks()
    validation(store, whole)(Noisy(store))
    parts = [Ranks(rank, 3) for rank in range(3)]
    for part in parts:
        validation(store, part)(Noisy(store))
    for k, one in enumerate(whole.sums):
        together = sum(part.sums[k] for part in parts)
        assert together[-1] == one[-1]
        if k == 0:  # the forecasts; the noise of this test's members knows no sample
            assert torch.allclose(together, one)
    calls = [validation(store, part).all[0].shape for part in parts]
    assert len(set(calls)) == 1


@pytest.mark.parametrize("latents", [None, make_latents()])
def test_models_are_scored_as_what_they_are(store, latents):
    domain = Domain.from_store(store, np.timedelta64(6, "h"), [["u10", "v10"]], 1)
    model = BlackBox(
        domain, width=8, blocks=1, history_width=8, heads=2, dropout=0.0, operators=None,
        truncation=None, latents=latents, source_limit=5.0, substeps=1,
    )  # fmt: skip
    scores = validation(store, Ranks(), members=2)(model)
    assert all(np.isfinite(value) for value in scores.values())
    kinds = {name.rsplit("_", 2)[0] for name in scores if name != "score"}
    assert kinds == ({"rmse"} if latents is None else {"rmse", "crps", "spread_skill"})


def test_one_member_is_no_ensemble(store):
    with pytest.raises(InputError, match="at least 2"):
        validation(store, Ranks(), members=1)
