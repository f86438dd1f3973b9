"""Posteriors and priors: closed forms against Monte Carlo, smooth positivity."""

import math

import pytest
import torch

from vgbdm.dynamics.parameters import NormalParameters
from vgbdm.errors import InputError
from vgbdm.latents.distributions import DiagonalGaussian, GaussianHead
from vgbdm.latents.latents import Latents


def test_kl_is_that_of_monte_carlo():
    q = DiagonalGaussian(torch.tensor([[0.5, -1.0]]), torch.tensor([[-0.3, 0.2]]))
    noise = torch.randn((200000, 2), generator=torch.manual_seed(0))
    draws = q.draw(noise)
    prior = torch.distributions.Normal(0, 1)
    own = torch.distributions.Normal(q.mean, q.log_std.exp())
    estimate = (own.log_prob(draws) - prior.log_prob(draws)).sum(1).mean()
    assert float(q.kl()) == pytest.approx(float(estimate), abs=0.02)
    assert float(DiagonalGaussian(torch.zeros(1, 3), torch.zeros(1, 3)).kl()) == 0.0


def test_kl_to_a_learned_prior_is_that_of_torch():
    generator = torch.manual_seed(1)
    numbers = [torch.randn((4, 2, 3), generator=generator).double() for _ in range(4)]
    q, p = DiagonalGaussian(*numbers[:2]), DiagonalGaussian(*numbers[2:])
    ours, theirs = (torch.distributions.Normal(g.mean, g.log_std.exp()) for g in (q, p))
    exact = torch.distributions.kl_divergence(ours, theirs).sum((1, 2))
    assert torch.allclose(q.kl(p), exact)
    standard = torch.distributions.Normal(torch.zeros(()).double(), 1.0)
    exact = torch.distributions.kl_divergence(ours, standard).sum((1, 2))
    assert torch.allclose(q.kl(), exact)


def test_draws_go_with_their_noise():
    q = DiagonalGaussian(torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, -1.0]]))
    drawn = q.draw(torch.tensor([[2.0, -3.0]]))
    assert torch.allclose(drawn, torch.tensor([[3.0, -2 - 3 * math.exp(-1)]]))


def test_positive_parameters_are_bent_at_a_tenth_of_their_mean():
    prior = NormalParameters({"L": (2.0, 0.5), "shift": (-1.0, 2.0)}, positive=["L"]).double()
    y = torch.tensor([[-4.0, 0.5], [-6.0, 0.0], [-3.0, 1.0]], dtype=torch.float64)
    exact = 0.2 * torch.log1p(torch.exp((2.0 + 0.5 * y[:, 0]) / 0.2))
    assert torch.allclose(prior.physical(y)[:, 0], exact)
    assert set(prior.state_dict()) == {"mean", "std"}  # the rest follows from the config


def test_the_prior_is_the_normal_near_its_mean_and_positive_everywhere():
    prior = NormalParameters({"L": (2.5, 0.8), "shift": (-1.0, 2.0)}, positive=["L"])
    y = torch.tensor([[0.0, 0.0], [1.0, 1.0], [-1.0, -1.0]])
    theta = prior.physical(y)
    assert torch.allclose(theta[:, 0], torch.tensor([2.5, 3.3, 1.7]), atol=1e-3)
    assert torch.allclose(theta[:, 1], torch.tensor([-1.0, 1.0, -3.0]))
    far = torch.tensor([[-20.0, 0.0]], requires_grad=True)
    value = prior.physical(far)[0, 0]
    value.backward()
    assert 0 < float(value.detach()) < 0.1
    assert float(far.grad[0, 0]) > 0  # no clamp: the gradient never dies
    assert set(prior.named(theta)) == {"L", "shift"}


def test_priors_that_cannot_be_are_refused():
    for bad in ({"L": (1.0, 0.0)}, {"L": (-1.0, 1.0)}):
        with pytest.raises(InputError, match="prior of L"):
            NormalParameters(bad, positive=["L"])


def test_heads_start_narrow_and_stay_bounded():
    head = GaussianHead(4, 2)
    start = head(torch.randn((8, 4), generator=torch.manual_seed(0)))
    assert start.mean.abs().max() < 0.5
    assert torch.all(start.log_std < -2.5)
    far = head(1e6 * torch.ones(1, 4))
    assert torch.all((far.log_std > -7.01) & (far.log_std < 1.01))


def test_widths_are_bent_between_their_bounds():
    head = GaussianHead(1, 3)
    with torch.no_grad():
        head.linear.bias.copy_(torch.tensor([5.0, 6.0, 7.0, -2.0, 0.0, 3.0]))
    made = head(torch.zeros(1, 1))
    assert made.mean.tolist() == [[5.0, 6.0, 7.0]]
    exact = [-3 + 4 * math.tanh(raw / 4) for raw in (-2.0, 0.0, 3.0)]
    assert made.log_std[0].tolist() == pytest.approx(exact)


def test_latents_repeat_sample_by_sample():
    latents = Latents(torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [4.0]]))
    repeated = latents.repeat(2)
    assert repeated.zeta.flatten().tolist() == [1, 1, 2, 2]
    assert repeated.theta.flatten().tolist() == [3, 3, 4, 4]
    assert Latents(latents.zeta, None).repeat(2).theta is None
