"""Networks on the sphere against plain compositions: the halo and what it is made of."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from climate.models.climode.layers import SphereAttention
from climate.models.networks import (
    HistoryAttention,
    HistoryEncoder,
    ResidualBlock,
    SphereConv,
    Trunk,
    soft_bound,
)

KINDS = {"centred": False, "poles": True, "box": None}


def composed(x, poles, halo, sign):
    """The halo from a roll of the whole field, flips, a join and a periodic pad."""
    if poles is None:
        return F.pad(x, (halo, halo, halo, halo), mode="replicate")
    opposite = x.roll(x.shape[-1] // 2, -1)
    if sign is not None:
        opposite = opposite * sign
    first, stop = int(poles), x.shape[-2] - int(poles)
    south = opposite[..., first : first + halo, :].flip(-2)
    north = opposite[..., stop - halo : stop, :].flip(-2)
    return F.pad(torch.cat((south, x, north), -2), (halo, halo, 0, 0), mode="circular")


def gradients(padded, parts, towards):
    return torch.autograd.grad(padded, parts, towards)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("width", [12, 9])
@pytest.mark.parametrize("vectors", [(), (0, 3)])
def test_the_halo_is_that_of_rolls_flips_and_joins(kind, kernel, width, vectors):
    conv = SphereConv(5, 4, kernel, poles=KINDS[kind], vector_inputs=vectors)
    x = torch.randn((2, 5, 8, width), generator=torch.manual_seed(0)).requires_grad_()
    want = composed(x, KINDS[kind], kernel // 2, conv.sign)
    towards = torch.randn(want.shape, generator=torch.manual_seed(1))
    wanted = gradients(want, [x], towards)
    for parts in ([x], [x[:, :2], x[:, 2:]], [x[:, :0], x]):
        got = conv.padded(parts, conv.sign)
        assert torch.equal(got, want)
        for found, expected in zip(gradients(got, [x], towards), wanted, strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_of_the_halo_is_that_of_differences(kind):
    conv = SphereConv(3, 2, poles=KINDS[kind], vector_inputs=(1, 2)).double()
    generator = torch.manual_seed(0)
    parts = [torch.randn((2, n, 4, 6), generator=generator).double() for n in (1, 2)]
    for part in parts:
        part.requires_grad_()
    assert torch.autograd.gradcheck(lambda *some: conv.padded(some, conv.sign), parts)
    assert torch.autograd.gradcheck(lambda *some: conv(*some), parts)


def test_only_parts_that_learn_have_a_gradient():
    conv = SphereConv(4, 2, poles=False, vector_inputs=(3,))
    fixed = torch.ones(1, 8, 12).expand(2, -1, -1, -1)
    learned = torch.randn((2, 3, 8, 12), requires_grad=True)
    conv(fixed, learned).square().sum().backward()
    whole = torch.cat((fixed, learned.detach()), 1).requires_grad_()
    conv(whole).square().sum().backward()
    torch.testing.assert_close(learned.grad, whole.grad[:, 1:])


class InputGradients(TorchDispatchMode):
    """Notes the channels whose gradient convolutions make."""

    def __init__(self):
        super().__init__()
        self.channels = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket is torch.ops.aten.convolution_backward and args[-1][0]:
            self.channels.append(args[1].shape[1])
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("learns", [(0, 0, 0), (0, 1, 0), (1, 0, 1), (1, 1, 1)])
def test_a_convolution_of_parts_is_that_of_their_join(kind, learns):
    conv = SphereConv(6, 4, poles=KINDS[kind], vector_inputs=(0, 2, 4))
    generator = torch.manual_seed(0)
    parts = [torch.randn((2, n, 8, 12), generator=generator) for n in (1, 2, 3)]
    for part, learned in zip(parts, learns, strict=True):
        part.requires_grad_(bool(learned))
    found = conv(*parts)
    towards = torch.randn(found.shape, generator=generator)
    wanted = [*(part for part in parts if part.requires_grad), *conv.parameters()]
    with InputGradients() as made:
        slopes = torch.autograd.grad(found, wanted, towards)
    assert sum(made.channels) == sum(
        n for n, learned in zip((1, 2, 3), learns, strict=True) if learned
    )
    whole = conv(torch.cat(parts, 1))
    torch.testing.assert_close(found, whole, rtol=1e-5, atol=1e-6)
    for one, other in zip(slopes, torch.autograd.grad(whole, wanted, towards), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_halo_is_made_in_the_type_that_the_convolution_computes_in(kind):
    conv = SphereConv(4, 2, poles=KINDS[kind])
    x = torch.randn((2, 4, 8, 12), requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        out = conv(x)
    assert out.dtype == torch.bfloat16
    out.float().square().sum().backward()
    assert x.grad.dtype == torch.float32


def test_the_past_is_attended_to_by_its_softmax_at_each_point():
    encoder = HistoryEncoder(3, 4, 8, poles=False, vector_inputs=())
    attention = HistoryAttention(3, 8, 2, poles=False, vector_inputs=())
    generator = torch.manual_seed(0)
    history = torch.randn((2, 4, 3, 6, 8), generator=generator)
    x = torch.randn((2, 3, 6, 8), generator=generator)
    with torch.no_grad():
        keys, values = encoder(history)
        frame = encoder.conv(history[:, 2]) + encoder.lag[2]
        assert torch.allclose(torch.cat((keys[:, 2], values[:, 2]), 1), frame, atol=1e-5)
        query, found = attention.query(x), []
        for head in (slice(0, 4), slice(4, 8)):
            scores = torch.stack([(query[:, head] * keys[:, f, head]).sum(1) / 2 for f in range(4)])
            weights = scores.softmax(0)
            found.append(sum(weights[f][:, None] * values[:, f, head] for f in range(4)))
        want = attention.mix(torch.cat(found, 1))
        assert torch.allclose(attention(x, (keys, values)), want, atol=1e-5)


def test_every_point_attends_to_means_over_patches_of_the_sphere():
    attention = SphereAttention(5, 8, 2)
    features = torch.randn((2, 5, 16, 32), generator=torch.manual_seed(0))
    with torch.no_grad():
        patches = features.unflatten(2, (8, 2)).unflatten(4, (16, 2)).mean((3, 5))
        keys, values = attention.memory(patches).flatten(2).chunk(2, 1)
        query, found = attention.query(features).flatten(2), []
        for head in (slice(0, 4), slice(4, 8)):
            weights = (query[:, head].mT @ keys[:, head] / 2).softmax(-1)
            found.append(values[:, head] @ weights.mT)
        want = attention.mix(torch.cat(found, 1).unflatten(2, (16, 32)))
        assert torch.allclose(attention(features), want, atol=1e-5)


def test_a_residual_block_adds_to_what_it_is_given():
    block = ResidualBlock(32, poles=False, dropout=0.0)
    x = torch.randn((2, 32, 6, 8), generator=torch.manual_seed(0))
    with torch.no_grad():
        hidden = block.conv_1(F.silu(F.group_norm(x, 2, block.norm_1.weight, block.norm_1.bias)))
        hidden = F.silu(F.group_norm(hidden, 2, block.norm_2.weight, block.norm_2.bias))
        assert torch.allclose(block(x), x + block.conv_2(hidden), atol=1e-5)


def test_a_trunk_starts_at_zero_and_drops_channels_only_while_it_learns():
    trunk = Trunk(3, 2, 32, 2, 0.5, poles=False, vector_inputs=())
    x = torch.randn((2, 3, 6, 8), generator=torch.manual_seed(0))
    with torch.no_grad():
        assert not trunk(x).any()
        trunk.last.weight.fill_(1.0)
        assert not torch.equal(trunk(x), trunk(x))
        trunk.eval()
        assert torch.equal(trunk(x), trunk(x[:, :1], x[:, 1:]))
        assert len(trunk.blocks) == 2 and trunk.norm.num_groups == 2


def test_a_soft_bound_is_its_own_slope_at_zero_and_is_never_passed():
    x = torch.tensor([-100.0, -1e-3, 0.0, 1e-3, 2.0, 100.0])
    got = soft_bound(x, 4.0)
    assert torch.allclose(got[1:4], x[1:4]) and float(got.abs().max()) <= 4
    assert float(got[4]) == pytest.approx(4 * math.tanh(0.5))
