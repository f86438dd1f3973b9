"""Networks on the sphere against plain compositions: the halo and what it is made of."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from climate.models.networks import SphereConv

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
