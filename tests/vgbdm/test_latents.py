"""Posteriors and priors: closed forms against Monte Carlo, smooth positivity."""

import pytest
import torch

from vgbdm.errors import InputError
from vgbdm.latents import DiagonalGaussian, GaussianHead, Latents, PhysicalPrior


def test_kl_is_that_of_monte_carlo():
    q = DiagonalGaussian(torch.tensor([[0.5, -1.0]]), torch.tensor([[-0.3, 0.2]]))
    noise = torch.randn((200000, 2), generator=torch.manual_seed(0))
    draws = q.draw(noise)
    prior = torch.distributions.Normal(0, 1)
    own = torch.distributions.Normal(q.mean, q.log_std.exp())
    estimate = (own.log_prob(draws) - prior.log_prob(draws)).sum(1).mean()
    assert float(q.kl()) == pytest.approx(float(estimate), abs=0.02)
    assert float(DiagonalGaussian(torch.zeros(1, 3), torch.zeros(1, 3)).kl()) == 0.0


def test_the_prior_is_the_normal_near_its_mean_and_positive_everywhere():
    prior = PhysicalPrior({"L": (2.5, 0.8), "shift": (-1.0, 2.0)}, positive=["L"])
    y = torch.tensor([[0.0, 0.0], [1.0, 1.0], [-1.0, -1.0]])
    theta = prior(y)
    assert torch.allclose(theta[:, 0], torch.tensor([2.5, 3.3, 1.7]), atol=1e-3)
    assert torch.allclose(theta[:, 1], torch.tensor([-1.0, 1.0, -3.0]))
    far = torch.tensor([[-20.0, 0.0]], requires_grad=True)
    value = prior(far)[0, 0]
    value.backward()
    assert 0 < float(value.detach()) < 0.1
    assert float(far.grad[0, 0]) > 0  # no clamp: the gradient never dies
    assert set(prior.named(theta)) == {"L", "shift"}


def test_priors_that_cannot_be_are_refused():
    for bad in ({"L": (1.0, 0.0)}, {"L": (-1.0, 1.0)}):
        with pytest.raises(InputError, match="prior of L"):
            PhysicalPrior(bad, positive=["L"])


def test_heads_start_narrow_and_stay_bounded():
    head = GaussianHead(4, 2)
    start = head(torch.randn((8, 4), generator=torch.manual_seed(0)))
    assert start.mean.abs().max() < 0.5
    assert torch.all(start.log_std < -2.5)
    far = head(1e6 * torch.ones(1, 4))
    assert torch.all((far.log_std > -7.01) & (far.log_std < 1.01))


def test_latents_repeat_sample_by_sample():
    latents = Latents(torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [4.0]]))
    repeated = latents.repeat(2)
    assert repeated.zeta.flatten().tolist() == [1, 1, 2, 2]
    assert repeated.theta.flatten().tolist() == [3, 3, 4, 4]
    assert Latents(latents.zeta, None).repeat(2).theta is None
