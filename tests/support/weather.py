"""Small weather models and smooth windows for them."""

from __future__ import annotations

import functools

import numpy as np
import torch

from climate.grids.grid import Grid
from climate.models.advection import GreyBoxAdvection
from climate.models.blackbox import BlackBox
from climate.models.domain import Domain
from climate.models.sphere_latents import WeatherLatents
from vgbdm.objectives.matching import Matching
from vgbdm.objectives.places import LastInterval

CHANNELS = ("z", "t2m", "u10", "v10")
SCALES = np.array([3000.0, 15.0, 5.0, 5.0])
GRIDS = {
    "centred": Grid(-90 + 5.625 * (np.arange(32) + 0.5), np.arange(64) * 5.625),
    "poles": Grid(np.linspace(-90, 90, 33), np.arange(64) * 5.625),
    "coarse": Grid(-90 + 11.25 * (np.arange(16) + 0.5), np.arange(32) * 11.25),
}
PRIORS = {
    "wind_factor": (1.0, 0.5),
    "diffusion": (2.0, 0.7),
    "relaxation": (0.1, 0.7),
    "unresolved": (1.0, 0.7),
}
VALUES = {
    "noise": 0.05, "gauge": 1e-2, "prior": 1e-3, "physics": 1.0, "beta_zeta": 1e-4,
    "beta_theta": 1e-4, "crps": 0.5,
}  # fmt: skip


def make_domain(grid: Grid, channels=CHANNELS, *, static=2, history=3) -> Domain:
    shape, count = (len(grid.lat), len(grid.lon)), len(channels)
    generator = np.random.default_rng(0)
    arrays = {
        "mean": np.zeros(count),
        "scale": SCALES[[CHANNELS.index(name) for name in channels]],
        "change": np.full(count, 0.4),
        "climate": np.zeros((count, *shape)),
        "static": generator.normal(size=(static, *shape)),
    }
    vectors = (("u10", "v10"),) if "u10" in channels else ()
    names = tuple(f"static{i}" for i in range(static))
    return Domain(
        tuple(grid.lat), tuple(grid.lon), tuple(channels), vectors, 21600, history, names, arrays
    )


def matching(path, seed):
    """The objective of weather: one match in the last interval of each window."""
    return Matching(path, LastInterval(seed), seed)


def mean_context(model, history):
    """The context of standardised histories, latents at their prior mean."""
    return model.next_context(model.past(history), None)


def make_latents(channels=2, points=24, memory=0.5):
    return functools.partial(
        WeatherLatents, channels=channels, points=points, width=16, blocks=1, memory=memory
    )


def make_model(
    grid: Grid = GRIDS["centred"], *, channels=CHANNELS, static=2, history=3, physics=True,
    alter=None, **options,
):  # fmt: skip
    """A small model; ``physics=False``: a black box. ``alter`` may change its domain."""
    torch.manual_seed(1)
    domain = make_domain(grid, channels, static=static, history=history)
    domain = alter(domain) if alter else domain
    settings = {"width": 16, "blocks": 1, "history_width": 8, "heads": 2, "dropout": 0.0}
    settings |= {"operators": None, "truncation": None, "latents": None, "source_limit": 5.0}
    if not physics:
        return BlackBox(domain, substeps=2, **settings | options)
    settings |= {"wind": ("u10", "v10"), "wind_limit": 60.0, "divergence_limit": 1e-4}
    settings |= {"network_calls": 2, "local_bound": True, "divergence_bound": "potential"}
    return GreyBoxAdvection(domain, **settings | {"source": True, "priors": PRIORS} | options)


def states(model, batch=2, frames=5):
    """Smooth physical windows (B, frames, C, H, W)."""
    generator = torch.Generator().manual_seed(0)
    shape = (batch, frames, len(model.channels), *model.climate.shape[-2:])
    fields = torch.randn(shape, generator=generator).flatten(0, 2)
    smooth = model.transport.spectral.project(fields).reshape(shape)
    return model.unstandardise(smooth)


class Batch:
    def __init__(self, windows, ids=None):
        self.states = windows
        self.ids = torch.arange(len(windows)) if ids is None else torch.as_tensor(ids)
        self.times = self.ids * 21600


def shake(model):
    """Draw every last layer from N(0, 0.3²): at the zero start the model is almost persistence."""
    generator = torch.Generator().manual_seed(7)
    layers = [model.trunk.last]
    if model.trunk.drawn is not None:
        layers.append(model.trunk.drawn.conv)
    if model.attention is not None:
        layers.append(model.attention.mix)
    if model.latents is not None:
        prior, posterior = model.latents.prior, model.latents.posterior
        layers += [prior.zeta.linear, posterior.zeta.linear]
        layers += [posterior.theta.linear] if posterior.theta else []
    with torch.no_grad():
        for layer in layers:
            layer.weight.copy_(0.3 * torch.randn(layer.weight.shape, generator=generator))
            if layer.bias is not None:
                layer.bias.copy_(0.3 * torch.randn(layer.bias.shape, generator=generator))


def silent_parameters(model):
    """Names of parameters that got no gradient."""
    return [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
        and (parameter.grad is None or not parameter.grad.abs().max() > 0)
    ]
