"""Small domains, smooth states and flows on the sphere for tests of weather models."""

import numpy as np
import torch

from climate.grids.grid import Grid
from climate.models.climode.integration import WindowSolver
from climate.models.climode.model import ClimODE
from climate.models.domain import Domain
from vgbdm.paths.lagrange import LagrangePath

CHANNELS = ("z", "t2m", "u10", "v10")
SCALES = np.array([3000.0, 15.0, 5.0, 5.0])
GRIDS = {
    "centred": Grid(-90 + 5.625 * (np.arange(32) + 0.5), np.arange(64) * 5.625),
    "poles": Grid(np.linspace(-90, 90, 33), np.arange(64) * 5.625),
    "small": Grid(-90 + 11.25 * (np.arange(16) + 0.5), np.arange(32) * 11.25),
}
CLIMODE = {
    "width": 16, "blocks": 1, "attention_width": 8, "heads": 2, "emission_blocks": 1,
    "operators": None, "truncation": None, "wind_limit": 60.0, "divergence_limit": 1e-4,
    "wind_change_limit": 5.0, "tendency_limit": 5.0, "correction_limit": 5.0,
    "priors": {"diffusion": (2.0, 0.7), "unresolved": (1.0, 0.7)},
}  # fmt: skip


def make_domain(grid: Grid, channels=CHANNELS, history: int = 3, static: int = 2) -> Domain:
    shape, count = (len(grid.lat), len(grid.lon)), len(channels)
    arrays = {
        "mean": np.zeros(count),
        "scale": SCALES[[CHANNELS.index(name) for name in channels]],
        "change": np.full(count, 0.4),
        "climate": np.zeros((count, *shape)),
        "static": np.random.default_rng(0).normal(size=(static, *shape)),
    }
    vectors = (("u10", "v10"),) if "u10" in channels else ()
    names = tuple(f"static{i}" for i in range(static))
    lat, lon = tuple(grid.lat), tuple(grid.lon)
    return Domain(lat, lon, tuple(channels), vectors, 21600, history, names, arrays)


def make_solver(method="euler", gradient="direct", substeps=6, tolerance=1e-3):
    return WindowSolver(method, substeps, tolerance, tolerance, gradient)


def make_climode(
    grid: Grid, *, channels=CHANNELS, degree=4, smoothness=1e-2, solver=None, alter=None, **options
):
    """``alter`` may change its domain."""
    torch.manual_seed(1)
    fit = {"degree": degree, "smoothness": smoothness, "path": LagrangePath()}
    settings = CLIMODE | {"fit": fit, "solver": solver or make_solver()} | options
    domain = make_domain(grid, channels)
    return ClimODE(alter(domain) if alter else domain, **settings)


def shake(*layers, size=0.3):
    """Draw layers from N(0, size²)."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for layer in layers:
            layer.weight.copy_(size * torch.randn(layer.weight.shape, generator=generator))
            layer.bias.copy_(size * torch.randn(layer.bias.shape, generator=generator))


def smooth_states(model, batch=2, frames=4):
    """Physical windows (B, frames, C, H, W) without anything beyond the truncation."""
    generator = torch.Generator().manual_seed(0)
    shape = (batch, frames, len(model.channels), *model.climate.shape[-2:])
    fields = torch.randn(shape, generator=generator).flatten(0, 2)
    return model.unstandardise(model.transport.spectral.project(fields).reshape(shape))
