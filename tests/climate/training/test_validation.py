"""Validation: one score for every model, ensembles beside it, the same on any number of ranks."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from forecasters import Stepwise
from generic_weather import CHANGE, SCALE, uneven_errors
from weather import make_latents

from climate.models.blackbox import BlackBox
from climate.models.domain import Domain
from climate.training.validation import STATE_BYTES, RolloutValidation
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


class Noisy(Stepwise):
    """The truth plus noise: members one by one, and their mean is right."""

    stochastic = True

    def __init__(self, store, stride=6):
        super().__init__()
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
        noise = torch.randn((len(times), len(members), *truth.shape[1:]), generator=generator)
        return truth[:, None] + noise


def validation(store, backend, **options):
    settings = {"step": np.timedelta64(6, "h"), "history": 1, "lead": np.timedelta64(12, "h")}
    settings |= {"starts": 10, "batch": 4, "members": 6, "seed": 0} | options
    return RolloutValidation(store, backend, **settings)


def test_the_score_is_that_of_members_and_the_forecast_is_scored_beside_it(store):
    """By the forecast of the prior's mean, draws that were trained last were never the best."""
    scores = validation(store, Ranks())(Noisy(store))
    alone = validation(store, Ranks())(Uneven(store, 1))
    assert set(alone) < set(scores) and alone["score"] > 0
    assert scores["rmse_z_12h"] == pytest.approx(2.0, rel=1e-3)
    # members N(0, 1) about the truth: CRPS = E|X| - ½ E|X - X'|, the mean's error is 1/√6
    want = np.sqrt(2 / np.pi) - 1 / np.sqrt(np.pi)
    assert scores["crps_z_6h"] == pytest.approx(want, rel=0.1)
    each = [scores[f"crps_{name}_{hour}h"] for name in store.channels for hour in (6, 12)]
    assert scores["score"] == pytest.approx(np.mean(each), rel=1e-4)  # in units of change 1
    assert scores["spread_skill_u10_6h"] == pytest.approx(np.sqrt(7), rel=0.1)
    members = torch.randn((6, 5000), generator=torch.manual_seed(0))
    assert float(crps(members, torch.zeros(5000)).mean()) == pytest.approx(want, rel=0.05)
    assert spread_skill(members, torch.zeros(5000)) == pytest.approx(np.sqrt(7), rel=0.05)


class Uneven(Noisy):
    """Errors of the row, the column, the channel, the lead and the start."""

    def __init__(self, store, members=1):
        super().__init__(store)
        self.stochastic = members > 1
        shape = (len(store.channels), 1, 1)
        self.change, self.scale = (torch.tensor(x[: shape[0]]).view(shape) for x in (CHANGE, SCALE))
        self.errors = torch.from_numpy(uneven_errors(members, 2, 3, 8, 16)).float()

    def _errors(self, times):
        return self.errors * (1 + times.double() % 97 / 97).float().view(-1, 1, 1, 1, 1, 1)

    def forecast(self, past, times, steps):
        assert past.shape[1:] == (2, *past.shape[2:])
        return self._truth(times, steps) + self._errors(times)[:, 0]

    def forecast_ensemble(self, past, times, steps, members, seed):
        assert seed == 0
        return self._truth(times, steps)[:, None] + self._errors(times)


def area_mean(store, fields):
    weights = np.cos(np.deg2rad(store.lat))
    return np.average(fields.mean(-1), axis=-1, weights=weights)


def errors_of(field, anchors, store):
    """(N, M, S, C, H, W) float64 and the starts they are of."""
    return field._errors(torch.from_numpy(store.times[anchors].astype(np.int64))).double().numpy()


def starts_of(store, count):
    anchors = store.anchors("val", np.timedelta64(6, "h"), 1, 2)
    return anchors[np.linspace(0, len(anchors) - 1, count).round().astype(int)]


def test_the_score_is_the_mean_of_rmse_in_units_of_the_change_of_each_channel(store):
    field, starts = Uneven(store), starts_of(store, 5)
    scores = validation(store, Ranks(), starts=5, batch=2)(field)
    errors = errors_of(field, starts, store)[:, 0]
    rmse = np.sqrt(area_mean(store, errors**2).mean(0))
    for s, hour in enumerate((6, 12)):
        for c, name in enumerate(store.channels):
            assert scores[f"rmse_{name}_{hour}h"] == pytest.approx(rmse[s, c], rel=1e-4)
    unit = np.array(CHANGE[:3]) * np.array(SCALE[:3])
    assert scores["score"] == pytest.approx((rmse / unit).mean(), rel=1e-4)
    assert set(scores) == {"score", *(f"rmse_{n}_{h}h" for n in store.channels for h in (6, 12))}


def test_crps_and_spread_are_those_of_every_fourth_start(store):
    field, starts = Uneven(store, 3), starts_of(store, 6)[::4]
    scores = validation(store, Ranks(), starts=6, members=3)(field)
    errors = errors_of(field, starts, store)
    near = np.abs(errors).mean(1)
    apart = np.abs(errors[:, :, None] - errors[:, None]).sum((1, 2)) / 6
    wanted = area_mean(store, near - apart / 2).mean(0)
    variance = area_mean(store, errors.var(1, ddof=1)).mean(0)
    square = area_mean(store, errors.mean(1) ** 2).mean(0)
    for s, hour in enumerate((6, 12)):
        for c, name in enumerate(store.channels):
            assert scores[f"crps_{name}_{hour}h"] == pytest.approx(wanted[s, c], rel=1e-4)
            ratio = np.sqrt(4 / 3 * variance[s, c] / square[s, c])
            assert scores[f"spread_skill_{name}_{hour}h"] == pytest.approx(ratio, rel=1e-4)


def test_starts_are_all_there_are_where_more_are_asked_for(store):
    anchors = store.anchors("val", np.timedelta64(6, "h"), 1, 2)
    asked = validation(store, Ranks(), starts=10**6)
    assert np.array_equal(asked.all[0], anchors) and bool((asked.all[1] == 1).all())
    first = validation(store, Ranks(), starts=4).all[0]
    assert first[0] == anchors[0] and first[-1] == anchors[-1] and len(first) == 4


class Shaped:
    """What a store says of itself, with maps of another size; nothing is read."""

    def __init__(self, store, height, width):
        self._store = store
        self.state = SimpleNamespace(shape=(len(store.times), len(store.channels), height, width))

    def __getattr__(self, name):
        return getattr(self._store, name)


def test_states_of_a_batch_are_bounded_in_bytes_on_any_grid(store):
    channels = len(store.channels)
    for height, width in ((721, 1440), (1441, 2880)):
        batch = validation(Shaped(store, height, width), Ranks(), batch=256).batch
        window = 4 * channels * height * width * 4  # one before, the current one, two ahead
        assert batch >= 1 and (batch == 1 or batch * window <= STATE_BYTES)
        assert (batch + 1) * window > STATE_BYTES
    assert validation(store, Ranks(), batch=4).batch == 4


def test_a_lead_without_data_after_any_start_is_refused(store):
    with pytest.raises(InputError, match="no start with 5 d"):
        validation(store, Ranks(), lead=np.timedelta64(120, "h"))


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
