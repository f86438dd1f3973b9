"""Draws of latents that are normal together."""

import torch

from vgbdm.latents.joint import JointGaussian
from vgbdm.latents.latents import LatentSizes
from vgbdm.latents.members import Members


def joint(rows=3, latents=2, parameters=2):
    numbers = torch.Generator().manual_seed(0)
    shapes = ((latents,), (parameters,), (latents, parameters), (latents, latents),
              (parameters, parameters))  # fmt: skip
    return JointGaussian(*(torch.randn((rows, *s), generator=numbers) for s in shapes))


def test_zeta_follows_a_draw_of_theta():
    q = joint()
    one, two = torch.tensor([[1.0, 0.0]]).expand(3, 2), torch.tensor([[0.0, 2.0]]).expand(3, 2)
    drawn = q.draw(one, two)
    assert torch.allclose(drawn.theta, q.theta_mean + 2 * q.theta_factor[:, :, 1])
    change = torch.einsum("bzp,bp->bz", q.slope, drawn.theta - q.theta_mean)
    assert torch.allclose(drawn.zeta, q.zeta_mean + change + q.zeta_factor[:, :, 0], atol=1e-6)
    still = q.draw(0 * one, 0 * two)
    assert torch.equal(still.zeta, q.mean.zeta) and torch.equal(still.theta, q.mean.theta)


def test_marginals_are_those_of_its_draws():
    q = joint(1)
    many = q.map(lambda x: x.expand(40000, *x.shape[1:]))
    numbers = torch.randn(40000, 4, generator=torch.Generator().manual_seed(1))
    drawn = many.draw(numbers[:, :2], numbers[:, 2:])
    for values, marginal in ((drawn.zeta, q.zeta), (drawn.theta, q.theta)):
        assert torch.allclose(values.mean(0), marginal.mean[0], atol=0.05)
        assert torch.allclose(values.std(0), marginal.log_std.exp()[0], rtol=0.03)


def test_members_are_drawn_of_it_and_a_black_box_has_no_theta():
    q, black = joint(), joint(parameters=0)
    members = Members(LatentSizes((2,), 2, 1.0), 5, torch.arange(3), range(4))
    drawn = members.draw(q)
    assert drawn.zeta.shape == drawn.theta.shape == (12, 2)
    own = Members(LatentSizes((2,), 2, 1.0), 5, torch.arange(3), range(2, 3)).draw(q)
    assert torch.allclose(drawn.zeta[2::4], own.zeta) and torch.allclose(
        drawn.theta[2::4], own.theta
    )
    bare = Members(LatentSizes((2,), 0, 1.0), 5, torch.arange(3), range(4)).draw(black)
    assert bare.theta is None and black.theta is None and black.mean.theta is None
    moved = (black.zeta_factor * members.state[::4, None]).sum(2)
    assert torch.allclose(bare.zeta[::4] - black.zeta_mean, moved, atol=1e-5)
