"""ClimODE keeps what it computed where that fits, computes it again elsewhere, and says so."""

import logging

import pytest
import torch
from climode import GRIDS, make_climode, make_solver, smooth_states
from torch import nn

from climate.stream.batches import WeatherBatch
from climate.training import gradient_choice
from climate.training.gradient_choice import choose_gradient, comparable, step_bytes
from climate.training.likelihood import GaussianLikelihood
from vgbdm.training.backends.torch import SingleBackend
from vgbdm.training.memory import free_bytes, saved_bytes

GIB = 2**30


def make_backend(precision="fp32", accumulation=1):
    return SingleBackend(precision=precision, clip=1.0, accumulation=accumulation)


def choose(monkeypatch, free, *, method="euler", gradient="auto", backend=None):
    monkeypatch.setattr(gradient_choice, "free_bytes", lambda _: free)
    model = make_climode(GRIDS["small"], solver=make_solver(method, gradient))
    choose_gradient(model, 2, 8, backend or make_backend())
    return model.solver.gradient


def test_direct_is_taken_where_it_fits_and_checkpoint_elsewhere(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    assert choose(monkeypatch, 1000 * GIB) == "direct"
    assert "climode: gradient=direct, direct takes " in caplog.text
    assert "of 1e+03 GiB free" in caplog.text
    assert choose(monkeypatch, GIB // 100) == "checkpoint"
    assert "climode: gradient=checkpoint, direct takes " in caplog.text


def test_micro_batches_need_less(monkeypatch):
    step = step_bytes(make_climode(GRIDS["small"]), make_backend())
    free = 8 * 2 * step  # a fifth more than is filled
    assert choose(monkeypatch, free) == "checkpoint"
    assert choose(monkeypatch, free, backend=make_backend(accumulation=4)) == "direct"


def test_one_rank_without_room_is_enough(monkeypatch):
    backend = make_backend()
    monkeypatch.setattr(backend, "sum", lambda votes: votes + 1)
    assert choose(monkeypatch, 1000 * GIB, backend=backend) == "checkpoint"


def test_unknown_numbers_of_steps_are_computed_again(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    assert choose(monkeypatch, 1000 * GIB, method="dopri5") == "checkpoint"
    assert "how often dopri5 evaluates" in caplog.text


@pytest.mark.parametrize("gradient", ["direct", "checkpoint", "adjoint"])
def test_what_was_asked_for_stays(monkeypatch, gradient):
    assert choose(monkeypatch, 0, gradient=gradient) == gradient


def test_models_without_a_choice_are_left_alone():
    choose_gradient(nn.Linear(1, 1), 2, 8, make_backend())


@pytest.mark.parametrize("method", ["euler", "rk4"])
def test_the_estimate_is_what_a_window_keeps(method):
    """Within a tenth: the step's share of the likelihood is not in it."""
    model = make_climode(GRIDS["small"], solver=make_solver(method, "direct", substeps=2))
    states = smooth_states(model, 2, model.history + 3)
    with torch.no_grad():
        fitted = model.fit_wind(model.standardise(states[:, : model.history + 1]))
    batch = WeatherBatch(states, torch.zeros(2), torch.arange(2), torch.ones(2), fitted)
    objective = GaussianLikelihood(2)
    kept = saved_bytes(model, lambda: objective(model, batch, {"prior": 0.0}))
    assert 2 * 2 * step_bytes(model, make_backend()) == pytest.approx(kept, rel=0.1)
    assert model.solver.gradient == "direct"


def test_numbers_of_half_the_size_take_less():
    model = make_climode(GRIDS["small"])
    assert step_bytes(model, make_backend("bf16")) < 0.9 * step_bytes(model, make_backend())


def test_saved_bytes_count_each_storage_once_and_no_weights():
    layer = nn.Linear(3, 5, bias=False)
    x = torch.ones(7, 3)
    assert saved_bytes(layer, lambda: layer(x)) == 4 * 7 * 3
    assert saved_bytes(layer, lambda: (layer(x), layer(x).exp())) == 4 * 7 * (3 + 5)
    with torch.no_grad():
        assert saved_bytes(layer, lambda: layer(x)) == 0


def test_ranks_of_a_machine_share_its_free_memory(monkeypatch):
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    whole = free_bytes(make_backend())
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert free_bytes(make_backend()) == pytest.approx(whole / 4, rel=0.2)


def test_ways_to_one_gradient_are_alike_to_a_checkpoint_and_the_adjoint_is_not():
    def config(gradient):
        return {"width": 8, "solver": {"method": "euler", "gradient": gradient}}

    seen = [comparable(config(way)) for way in ("auto", "direct", "checkpoint", "adjoint")]
    assert seen[0] == seen[1] == seen[2] != seen[3]
    assert comparable({"width": 8}) == {"width": 8}


def test_a_model_from_before_may_say_what_it_does():
    before = {"width": 8, "wind": ["u10", "v10"]}
    assert comparable(before | {"network_calls": None, "local_bound": False}) == before
    for changed in ({"network_calls": 2}, {"local_bound": True}, {"wind": None}):
        assert comparable(before | changed) != comparable(before)
    idle = {"local_bound": False, "divergence_bound": "potential"}
    assert comparable(before | idle) == before
    local = before | {"local_bound": True}
    assert comparable(local | {"divergence_bound": "wind"}) == local
    assert comparable(local | {"divergence_bound": "potential"}) != local
