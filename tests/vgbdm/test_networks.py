"""Residual networks and encoders layer by layer, and blocks that are computed again."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vgbdm.latents.encoders import WindowConv, WindowGRU, WindowMLP
from vgbdm.networks import Blocks, ResidualConv, ResidualMLP


def numbers(*shape):
    return torch.randn(shape, generator=torch.manual_seed(3))


def shapes(module, kind):
    return [tuple(m.weight.shape) for m in module.modules() if isinstance(m, kind)]


def test_networks_have_the_layers_that_they_say():
    assert shapes(ResidualMLP(5, 2), nn.Linear) == [(128, 5), (128, 128), (128, 128), (2, 128)]
    assert shapes(ResidualMLP(5, 2, 8, 1), nn.Linear) == [(8, 5), (2, 8)]
    conv = shapes(ResidualConv(5, 2), nn.Conv2d)
    assert conv == [(32, 5, 3, 3), (32, 32, 3, 3), (2, 32, 1, 1)]
    point = shapes(ResidualConv(5, 2, 8, 3, kernel=1), nn.Conv2d)
    assert point == [(8, 5, 1, 1), (8, 8, 1, 1), (8, 8, 1, 1), (2, 8, 1, 1)]
    assert shapes(WindowMLP(3, 4, 6), nn.Linear) == [(256, 12), (256, 256), (6, 256)]
    gru = WindowGRU(3, 4, 6)
    assert gru.recurrent.weight_hh_l0.shape == (192, 64) and gru.last.weight.shape == (6, 64)
    assert shapes(WindowConv(3, 4, 6), nn.Conv2d)[0] == (32, 12, 3, 3)


def test_a_residual_perceptron_is_linear_layers_and_silu():
    net, x = ResidualMLP(3, 2, width=4, depth=2), numbers(5, 3)
    nn.init.normal_(net.last.weight)
    nn.init.normal_(net.last.bias)
    hidden = x
    for layer in (net.layers[0], net.layers[2]):
        hidden = F.silu(hidden @ layer.weight.T + layer.bias)
    assert torch.allclose(net(x), hidden @ net.last.weight.T + net.last.bias, atol=1e-6)


def test_a_residual_convolution_is_silu_of_periodic_ones():
    net, x = ResidualConv(2, 1, width=3, depth=2, kernel=5), numbers(2, 2, 6, 6)
    nn.init.normal_(net.last.weight)
    hidden = x
    for layer in net.layers:
        wrapped = F.pad(hidden, (2, 2, 2, 2), mode="circular")
        hidden = F.silu(F.conv2d(wrapped, layer.weight, layer.bias))
    exact = F.conv2d(hidden, net.last.weight, net.last.bias)
    assert net(x).shape == (2, 1, 6, 6) and torch.allclose(net(x), exact, atol=1e-6)


def test_encoders_end_with_what_they_say():
    mlp, x = WindowMLP(3, 4, 6, width=5, depth=1), numbers(2, 4, 3)
    first, last = mlp.layers[0], mlp.layers[2]
    hidden = F.silu(x.flatten(1) @ first.weight.T + first.bias)
    assert torch.allclose(mlp(x), F.silu(hidden @ last.weight.T + last.bias), atol=1e-6)
    gru = WindowGRU(3, 4, 6, width=5)
    states, _ = gru.recurrent(x)
    assert torch.allclose(gru(x), F.silu(gru.last(states[:, -1])), atol=1e-6)
    conv, x = WindowConv(3, 4, 6, width=5), numbers(2, 4, 3, 6, 6)
    hidden = conv.first(x.reshape(2, 12, 6, 6))
    maps = conv.moments(hidden + conv.second(F.silu(hidden)))
    moments = torch.cat((maps.mean((2, 3)), (1 + (maps**2).mean((2, 3))).log()), 1)
    assert torch.allclose(conv(x), conv.head(moments), atol=1e-5)


@pytest.mark.parametrize(("count", "together", "calls"), [(6, 2, 3), (5, 2, 3), (4, 1, 4)])
def test_blocks_are_computed_again_so_many_at_a_time(monkeypatch, count, together, calls):
    blocks = Blocks(*(nn.Linear(2, 2) for _ in range(count)), together=together)
    seen, some = [], Blocks._some
    monkeypatch.setattr(Blocks, "_some", lambda self, *a: seen.append(a[0]) or some(self, *a))
    x = numbers(3, 2)
    exact = x
    for layer in blocks:
        exact = layer(exact)
    assert torch.allclose(blocks(x), exact) and seen == list(range(0, count, together))
    seen.clear()
    blocks.recompute = True
    blocks(x).sum().backward()
    assert len(seen) == 2 * calls
    seen.clear()
    with torch.no_grad():
        blocks(x)
    assert len(seen) == calls
