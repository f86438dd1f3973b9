"""Every encoder and network: shapes, a gradient at every parameter, independence of the batch."""

import pytest
import torch

from vgbdm.latents.encoders import WindowConv, WindowGRU, WindowMLP
from vgbdm.networks import ResidualConv, ResidualMLP

ENCODERS = {
    "mlp": (WindowMLP(3, 6, 5, width=8), (4, 6, 3)),
    "gru": (WindowGRU(3, 6, 5, width=8), (4, 6, 3)),
    "conv": (WindowConv(3, 6, 5, width=8), (4, 6, 3, 8, 8)),
}
NETWORKS = {
    "mlp": (ResidualMLP(3, 2, width=8), (4, 3)),
    "pointwise": (ResidualConv(3, 2, width=8, kernel=1), (4, 3, 8, 8)),
    "conv": (ResidualConv(3, 2, width=8, kernel=3), (4, 3, 8, 8)),
}


def numbers(shape):
    return torch.randn(shape, generator=torch.manual_seed(0))


@pytest.mark.parametrize(("module", "shape"), ENCODERS.values(), ids=ENCODERS)
def test_encoders(module, shape):
    x = numbers(shape)
    out = module(x)
    assert out.shape == (4, 5)
    assert torch.allclose(module(x[1:2]), out[1:2], atol=1e-6)
    out.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


@pytest.mark.parametrize(("module", "shape"), NETWORKS.values(), ids=NETWORKS)
def test_networks_start_at_zero(module, shape):
    x = numbers(shape)
    out = module(x)
    assert out.shape == (shape[0], 2, *shape[2:])
    assert not out.any()
    (out - 1).square().sum().backward()
    assert module.last.weight.grad.abs().sum() > 0


def test_convolutions_know_no_place_on_a_periodic_grid():
    conv, shape = NETWORKS["conv"]
    torch.nn.init.normal_(conv.last.weight)
    x = numbers(shape)
    shifted = conv(x.roll((3, 2), (-2, -1)))
    assert torch.allclose(shifted, conv(x).roll((3, 2), (-2, -1)), atol=1e-6)


def test_a_pointwise_network_sees_no_neighbours():
    point, shape = NETWORKS["pointwise"]
    torch.nn.init.normal_(point.last.weight)
    x = numbers(shape)
    moved = x.clone()
    moved[:, :, 3, 3] += 1
    change = (point(moved) - point(x)).abs().sum(1)
    assert change[:, 3, 3].min() > 0
    change[:, 3, 3] = 0
    assert float(change.max().detach()) == 0.0
