"""The θ of the smallest residual: known answers."""

import torch
from system_fields import SYSTEMS, parameters, trajectories

from physics_systems.evaluation.minimum_norm import golden_section, minimum_norm
from vgbdm.paths.hermite import HermitePath

UNIT = {"rlc": 2, "pendulum": 1, "reaction_diffusion": 2, "lorenz": 3}


def theta_of(name):
    system = SYSTEMS[name]
    rate = torch.ones(UNIT[name]).reshape(-1, *[1] * len(system.grid))
    found = minimum_norm(system, trajectories(name), parameters(name), rate, HermitePath())
    true = torch.stack([parameters(name)[n] for n in system.prior], 1)
    return found, true


def test_golden_sections_find_each_minimum():
    target = torch.tensor([-3.0, 0.1, 7.0], dtype=torch.float64)
    found = golden_section(lambda v: (v - target).abs(), 3)
    assert torch.allclose(found, target, atol=1e-4)


def test_the_search_reaches_ten_widths_to_either_side():
    target = torch.tensor([-30.0, -9.9, 9.9, 30.0], dtype=torch.float64)
    found = golden_section(lambda v: (v - target).square(), 4)
    assert torch.allclose(found, target.clamp(-10, 10), atol=1e-4)


def test_parameters_of_whole_rows_are_exact():
    """Nothing is missing in the rows of σ and β, of C, of b."""
    for name, places in (("lorenz", [0, 1]), ("rlc", [1]), ("reaction_diffusion", [1])):
        found, true = theta_of(name)
        assert torch.allclose(found[:, places], true[:, places], rtol=1e-3), name


def test_where_what_is_missing_goes_along_the_smallest_residual_is_a_biased_one():
    """RLC: L Ï = V - U - drop; least squares on 1/L, the only root in R that L moves."""
    found, true = theta_of("rlc")
    data, truth = trajectories("rlc"), parameters("rlc")
    x, t = data.x.double(), data.t
    every = max(1, x.shape[1] // 25)
    x, t = x[:, ::every], t[:, ::every]
    force = 1 + 2.5 * torch.sin(2 * t) - x[:, :, 0]
    drop = (truth["R"] / truth["C"])[:, None] * x[:, :, 1]
    rate = (force - drop) / truth["L"][:, None]
    inverse = (force * rate).sum(1) / force.square().sum(1)
    reachable = (1 / inverse < 10) & (inverse > 0)
    assert reachable.sum() > 5
    assert torch.allclose(found[reachable, 0], (1 / inverse)[reachable], rtol=1e-2)
    assert not torch.allclose(found[:, 0], true[:, 0], rtol=0.1)
