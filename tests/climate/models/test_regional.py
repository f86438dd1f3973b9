"""Grey-box advection on a box: gradients, bounds, free runs, and no truth from outside."""

import numpy as np
import pytest
import torch
from weather import matching, mean_context

from climate.grids.regions import parse_region
from climate.models.advection import GreyBoxAdvection
from climate.models.domain import Domain
from climate.operators.sphere import FiniteDifferenceOperators
from vgbdm.paths.hermite import HermitePath

LAT = -90 + 5.625 * (np.arange(32) + 0.5)
LON = np.arange(64) * 5.625
CHANNELS = ("z", "u10", "v10")
SCALES = np.array([3000.0, 5.0, 5.0])
PRIORS = {
    "wind_factor": (1.0, 0.5),
    "diffusion": (2.0, 0.7),
    "relaxation": (0.1, 0.7),
    "unresolved": (1.0, 0.7),
}
VALUES = {"noise": 0.05, "gauge": 1e-2, "prior": 1e-3, "physics": 1.0}


def make_model(box, operators=None) -> GreyBoxAdvection:
    """A model whose last layers are drawn from N(0, 0.3²)."""
    torch.manual_seed(1)
    region = parse_region(box, 4)
    cut = region.cut(LAT, LON)
    lat, lon = LAT[cut.rows], cut.lon
    shape, generator = (len(lat), len(lon)), np.random.default_rng(0)
    arrays = {
        "mean": np.zeros(3), "scale": SCALES, "change": np.full(3, 0.4),
        "climate": np.zeros((3, *shape)), "static": generator.normal(size=(1, *shape)),
    }  # fmt: skip
    domain = Domain(
        tuple(lat), tuple(lon), CHANNELS, (("u10", "v10"),), 21600, 3, ("lsm",), arrays, region
    )
    model = GreyBoxAdvection(
        domain, operators=operators, width=16, blocks=1, history_width=8, heads=2, dropout=0.0,
        truncation=None, wind=("u10", "v10"), wind_limit=60.0, divergence_limit=1e-4,
        source=True, source_limit=5.0, priors=PRIORS, latents=None,
        network_calls=2, local_bound=True, divergence_bound="potential",
    )  # fmt: skip
    with torch.no_grad():
        for layer in (model.trunk.last, model.attention.mix):
            layer.weight.normal_(0, 0.3)
            layer.bias.normal_(0, 0.3)
    return model


def windows(model, batch: int, frames: int) -> torch.Tensor:
    shape = (batch, frames, 3, *model.climate.shape[-2:])
    fields = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return model.unstandardise(model.transport.spectral.project(fields))


@pytest.mark.parametrize(
    ("box", "operators"), [("Europe", None), ([-20, 30, 330, 20], FiniteDifferenceOperators)]
)
def test_thirty_day_free_runs_with_random_last_layers_stay_finite(box, operators):
    model = make_model(box, operators)
    forecast = model.forecast(windows(model, 1, 4), torch.zeros(1), 120)
    assert bool(forecast.isfinite().all())
    spread = (forecast[0, -1] / torch.tensor(SCALES)[:, None, None].float()).std()
    assert 0.05 < float(spread) < 30


def test_physics_without_damping_keep_the_square_for_ten_days():
    """The advection alone, with a learned wind: neither growth nor loss."""
    model = make_model("Europe")
    with torch.no_grad():
        model.trunk.last.weight[4:] = 0
        model.trunk.last.bias[4:] = 0
        for name in ("diffusion", "relaxation", "unresolved"):
            model.theta.raw[name].fill_(-200.0)
    start = windows(model, 1, 4)
    forecast = model.forecast(start, torch.zeros(1), 40)
    weights = model.area / torch.tensor(SCALES**2)[:, None, None].float()
    before, after = ((x.square() * weights).mean() for x in (start[0, -1], forecast[0, -1]))
    assert float(after / before) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("operators", [None, FiniteDifferenceOperators])
def test_every_parameter_gets_a_gradient(operators):
    model = make_model("Europe", operators)

    class Batch:
        states, times, ids = windows(model, 2, 5), torch.arange(2) * 21600, torch.arange(2)

    matching(HermitePath(), 0)(model, Batch(), VALUES)["loss"].mean().backward()
    assert [n for n, p in model.named_parameters() if not p.grad.abs().max() > 0] == []


def test_wind_and_divergence_stay_below_their_limits():
    model = make_model("Europe")
    x = 5 * model.standardise(windows(model, 2, 4))
    context = mean_context(model, x)
    state, closure = model.closure(x[:, -1], torch.zeros(2), context)
    wind = model.advecting_wind(context.theta, state, closure.wind)
    assert (wind.east**2 + wind.north**2).sqrt().max().item() <= 60.0
    assert closure.wind[2].abs().max().item() <= 1e-4
    assert wind.east[..., 0, :].abs().max().item() <= 60.0 * 0.05
