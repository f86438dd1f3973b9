"""Learned physical parameters: units, shifts of members, their prior."""

import math

import pytest
import torch

from vgbdm.dynamics.parameters import LogNormalParameters

PRIORS = {"k": (0.8, 0.5), "r": (10.0, 0.1)}


def test_parameters_are_medians_times_exponentials():
    theta = LogNormalParameters(PRIORS, (3,))
    with torch.no_grad():
        theta.raw["k"].copy_(torch.tensor([0.0, 1.0, -2.0]))
        theta.raw["r"].copy_(torch.tensor([3.0, 0.0, 1.0]))
    found = theta()
    assert found["k"].tolist() == pytest.approx([0.8, 0.8 * math.e**0.5, 0.8 / math.e])
    assert found["r"].tolist() == pytest.approx([10 * math.exp(0.3), 10, 10 * math.exp(0.1)])
    assert theta.count == 6


def test_members_shift_each_parameter_in_widths_of_its_prior():
    theta = LogNormalParameters(PRIORS, (3,))
    with torch.no_grad():
        theta.raw["k"].fill_(0.5)
    shift = torch.arange(12.0).reshape(2, 6) / 10
    found = theta(shift)
    assert found["k"].shape == (2, 3)
    assert torch.allclose(found["k"], 0.8 * torch.exp(0.5 * (0.5 + shift[:, :3])))
    assert torch.allclose(found["r"], 10 * torch.exp(0.1 * shift[:, 3:]))


def penalty_of(values):
    """That of learned parameters which have these values."""
    theta = LogNormalParameters(PRIORS, (2,))
    with torch.no_grad():
        for name, (median, spread) in PRIORS.items():
            theta.raw[name].copy_((values[name] / median).log() / spread)
    return float(theta.penalty())


def test_the_penalty_is_the_log_prior_up_to_a_constant():
    values = {"k": torch.tensor([0.8, 1.6]), "r": torch.tensor([11.0, 8.0])}
    logs = [math.log(2) / 0.5, math.log(1.1) / 0.1, math.log(0.8) / 0.1]
    exact = 0.5 * sum(x * x for x in logs)
    assert penalty_of(values) == pytest.approx(exact, rel=1e-5)
    normal = torch.distributions.Normal(torch.tensor([0.8, 10.0]).log(), torch.tensor([0.5, 0.1]))
    there, middle = (torch.tensor(pair).log() for pair in ([1.6, 8.0], [0.8, 10.0]))
    difference = normal.log_prob(middle).sum() - normal.log_prob(there).sum()
    own = {"k": torch.tensor([0.8, 1.6]), "r": torch.tensor([10.0, 8.0])}
    assert penalty_of(own) == pytest.approx(float(difference), rel=1e-5)
