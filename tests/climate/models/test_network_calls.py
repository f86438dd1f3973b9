"""How often a model step asks the network, and what that does to it."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from weather import GRIDS, Batch, make_domain, make_model, shake, states

from climate.conventions.earth import EARTH_RADIUS
from climate.grids.grid import Grid
from climate.models.advection import GreyBoxAdvection, integration
from vgbdm.dynamics.rollout import Solver
from vgbdm.dynamics.splitting import SplitSolver
from vgbdm.objectives.rollouts import RolloutMatching

WIND, STEP = 60.0, 21600
DEGREES = {"5.625": 21, "1.5": 79, "0.25": 479}


def counted(model):
    """The calls of the network from now on, as a list that grows."""
    seen, network = [], model.network

    def asked(*given):
        seen.append(given)
        return network(*given)

    model.network = asked
    return seen


@pytest.mark.parametrize("calls", [2, 4])
@pytest.mark.parametrize("truncation", [5, 21, 30])
def test_a_forecast_asks_the_network_as_often_on_every_truncation(calls, truncation):
    model = make_model(truncation=truncation, network_calls=calls, wind_limit=300.0)
    seen = counted(model)
    model.forecast(states(model, batch=1, frames=4), torch.zeros(1), 2)
    assert len(seen) == 2 * calls
    assert model.solver.steps >= 300.0 * truncation / EARTH_RADIUS * STEP / 2.5


def test_a_forecast_on_the_grid_of_one_and_a_half_degrees_asks_twice():
    grid = Grid(np.linspace(-90, 90, 121), 1.5 * np.arange(240))
    model = make_model(grid, width=4, history_width=4)
    assert model.solver == SplitSolver(2, 4)
    seen = counted(model)
    model.forecast(states(model, batch=1, frames=4), torch.zeros(1), 1)
    assert len(seen) == 2


@pytest.mark.parametrize("grid", DEGREES)
def test_substeps_grow_with_the_truncation_and_calls_do_not(grid):
    courant = WIND * DEGREES[grid] / EARTH_RADIUS * STEP
    split, whole = integration(2, courant), integration(None, courant)
    assert split.calls == 2
    assert courant / split.steps < 2.5 < courant / (split.steps - split.calls or 0.1)
    assert whole == Solver("rk4", math.ceil(courant / 2.5))


def test_tuning_by_rollout_asks_as_a_forecast_does():
    model = make_model(GRIDS["coarse"])
    shake(model)
    seen = counted(model)
    terms = RolloutMatching(2, 0)(model, Batch(states(model, frames=6)), {"prior": 0.0})
    assert len(seen) == 4
    terms["loss"].mean().backward()
    assert float(model.trunk.last.weight.grad.abs().max()) > 0


def test_split_steps_are_of_second_order_against_the_network_at_each_stage():
    model = make_model(GRIDS["coarse"])
    shake(model)
    with torch.no_grad():
        model.trunk.last.weight.mul_(3.0)
    history = model.standardise(states(model, batch=1, frames=4))
    clock, lengths = torch.tensor([[0.0, STEP]]), torch.ones(1, 1)

    def end(solver):
        with torch.no_grad():
            return next(model.march(history[:, -1], history, clock, lengths, None, solver))

    exact = end(Solver("rk4", 16))
    errors = [float((end(SplitSolver(n, 16 // n)) - exact).norm()) for n in (2, 4, 8)]
    assert errors[0] > 1e-3
    assert min(math.log2(a / b) for a, b in itertools.pairwise(errors)) > 1.8


def test_a_model_from_before_keeps_the_network_at_each_stage():
    now = make_model(GRIDS["coarse"])
    before = GreyBoxAdvection(
        now.domain, width=16, blocks=1, history_width=8, heads=2, dropout=0.0, operators=None,
        truncation=None, latents=None, wind=("u10", "v10"), wind_limit=60.0, divergence_limit=1e-4,
        source=True, source_limit=5.0, priors={"diffusion": (2.0, 0.7)},
    )  # fmt: skip
    assert before.solver == Solver("rk4", 1)
    assert now.solver == SplitSolver(2, 1)


def test_the_bound_is_that_of_training_s_largest_wind():
    domain = replace(make_domain(GRIDS["coarse"]), largest_winds=(30.0,))
    model = make_model(GRIDS["coarse"], wind_limit=None, alter=lambda _: domain)
    assert model.wind_limit.flatten().tolist() == [45.0] * 3
    assert make_model(GRIDS["coarse"], wind_limit=None, channels=("z",)).wind_limit.tolist() == [
        [[60.0]]
    ]
    fast = replace(domain, largest_winds=(300.0,))
    assert make_model(GRIDS["coarse"], wind_limit=None, alter=lambda _: fast).solver.substeps == 4
