"""Systems, trajectories and small fields for tests; and problems with exact answers."""

import functools
from dataclasses import asdict

import torch

from physics_systems.data.simulate import simulate
from physics_systems.data.stream import TrajectoryBatch, statistics
from physics_systems.data.trajectories import Trajectories, write
from physics_systems.systems.lorenz import Lorenz
from physics_systems.systems.pendulum import Pendulum
from physics_systems.systems.reaction_diffusion import ReactionDiffusion
from physics_systems.systems.rlc import RLC
from vgbdm.dynamics.rollout import Solver
from vgbdm.fields.latent_field import LatentField
from vgbdm.inference.refinement import Refinement
from vgbdm.latents.encoders import WindowConv, WindowGRU, WindowMLP
from vgbdm.latents.regression import WindowRegression
from vgbdm.networks import ResidualConv, ResidualMLP
from vgbdm.paths.hermite import HermitePath

SYSTEMS = {
    "rlc": RLC(
        30, 3.0, {"L": [1, 3], "C": [0.5, 1.5], "R": [1, 3]}, prior={"L": [2.5, 0.8], "C": [1, 0.4]}
    ),
    "pendulum": Pendulum(
        30, 2.9, {"omega": [0.8, 3], "gamma": [0.6, 1.5]}, prior={"omega": [2, 0.4]}
    ),
    "reaction_diffusion": ReactionDiffusion(
        14,
        1.3,
        {"a": [0.001, 0.002], "b": [0.003, 0.007], "k": [0.003, 0.005]},
        prior={"a": [0.0015, 0.0004], "b": [0.005, 0.0012]},
    ),
    "lorenz": Lorenz(
        30,
        1.0,
        {"sigma": [9.5, 10.5], "rho": [27, 29], "beta": [2.6, 2.8]},
        prior={"beta": [2.7, 0.3], "sigma": [10, 1.2]},
    ),
}
WINDOW = {"rlc": 10, "pendulum": 10, "reaction_diffusion": 5, "lorenz": 10}
PRESET = {"rlc": ["I"], "pendulum": ["dq"], "reaction_diffusion": ["U", "V"], "lorenz": ["X", "Z"]}


@functools.cache
def dataset(name, count=12, **options):
    return simulate(SYSTEMS[name], count, 3, **options)


@functools.cache
def write_stores(place, name="lorenz"):
    """Stores of a system to train and validate on, and the options that name them."""
    write(dataset(name, 24), place / "train")
    write(dataset(name, 12), place / "val")
    return [f"data.train={place}/train", f"data.val={place}/val"]


def short_training(place, steps):
    """A Lorenz training of some steps, as options of the launcher, on stores made at a place."""
    return [
        *write_stores(place),
        "system=lorenz", "model.window=10", "model.features=16", "batch=8", "validation.limit=8",
        "system.presets.encoder.width=16", f"trainer.total_steps={steps}",
        "trainer.validations=2", "objective.schedules.gauge.start=0.01",
    ]  # fmt: skip


def trajectories(name, count=12):
    made = dataset(name, count)
    return Trajectories(torch.from_numpy(made["x"].values), torch.from_numpy(made["t"].values))


def smooth(name, count=12):
    """Smooth curves of no system's own, on irregular times that differ between trajectories."""
    system, numbers = SYSTEMS[name], torch.Generator().manual_seed(5)
    frame, row = torch.arange(system.frames).double(), torch.arange(count).double()[:, None]
    step = system.horizon / (system.frames - 1)
    times = step * (frame + 0.25 * torch.sin(2.1 * frame + row)) + 0.3 * row
    shape = (count, 1, *system.shape)
    waves = 0.0
    for k in (1.0, 2.0, 3.0):
        size, phase = (torch.randn(shape, generator=numbers) for _ in range(2))
        clock = times.reshape(count, -1, *[1] * len(system.shape))
        waves = waves + size * torch.cos(k * clock + 3 * phase)
    return Trajectories(waves.float(), times)


def parameters(name, count=12):
    values = torch.from_numpy(dataset(name, count)["params"].values)
    return dict(zip(SYSTEMS[name].parameters, values.unbind(1), strict=True))


def batch_of(data, path, rows=None):
    rows = torch.arange(len(data)) if rows is None else torch.as_tensor(rows)
    nodes = path.nodes(data.x, data.t)
    return TrajectoryBatch(nodes[rows], data.t[rows], rows + 100, torch.ones(len(rows)), rows)


def make_field(
    name,
    *,
    grey=True,
    inputs=None,
    encoder=None,
    unmixing=False,
    path=None,
    shake=0.0,
    data=None,
    history=2,
    regression=WindowRegression,
):
    """A small field of a system; ``shake`` draws its last layer from N(0, shake²)."""
    torch.manual_seed(0)
    system, path = SYSTEMS[name], path or HermitePath()
    data = data or trajectories(name)
    facts = statistics(data, path.nodes(data.x, data.t), path, system.order)
    grid = bool(system.grid)
    inputs = inputs or (PRESET[name] if grey else "state")
    kernel = 1 if inputs == PRESET[name] else 3
    network = (
        functools.partial(ResidualConv, width=6, depth=1, kernel=kernel)
        if grid
        else functools.partial(ResidualMLP, width=16, depth=2)
    )
    encoders = {None: WindowConv if grid else WindowMLP, "gru": WindowGRU}
    field = LatentField(
        system,
        facts,
        path=path,
        grey=grey,
        residual_inputs=inputs,
        window=WINDOW[name],
        history=history,
        latents=3,
        features=12,
        encoder=functools.partial(encoders[encoder], width=8),
        network=network,
        unmixing=functools.partial(ResidualMLP, width=8, depth=1) if unmixing else None,
        regression=regression,
        refinement=Refinement(2),
        solver=Solver("rk4", 1),
    )
    field.scale_regression(data.x[:, : field.window], data.t[:, : field.window])
    if shake:
        with torch.no_grad():
            field.network.last.weight.normal_(0, shake)
            field.network.last.bias.normal_(0, shake)
    return field


PENDULUM_FIELD = {
    "_target_": "vgbdm.fields.latent_field.LatentField",
    "physics": {
        "_target_": "physics_systems.systems.pendulum.Pendulum", **asdict(SYSTEMS["pendulum"]),
    },
    "statistics": {
        "_target_": "vgbdm.fields.system_field.FieldStatistics",
        "mean": [0.0, 0.0], "std": [1.0, 1.0], "rate": [1.0], "interval": 0.1,
    },
    "grey": True, "residual_inputs": ["dq"], "window": 10, "history": 2, "latents": 3,
    "features": 12, "unmixing": None,
    "path": {"_target_": "vgbdm.paths.hermite.HermitePath", "stencil": 11},
    "regression": {"_target_": "vgbdm.latents.regression.WindowRegression", "_partial_": True},
    "refinement": {"_target_": "vgbdm.inference.refinement.Refinement", "steps": 2},
    "encoder": {"_target_": "vgbdm.latents.encoders.WindowMLP", "_partial_": True, "width": 8},
    "network": {
        "_target_": "vgbdm.networks.ResidualMLP", "_partial_": True, "width": 16, "depth": 2,
    },
    "solver": {"_target_": "vgbdm.dynamics.rollout.Solver", "method": "rk4", "substeps": 1},
}  # fmt: skip
"""A small model of the pendulum, as a checkpoint records what it is built from."""
