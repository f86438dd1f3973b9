"""Half as many rows and columns, and back, on every kind of grid."""

import itertools
import math

import pytest
import torch

from climate.models.coarsening import check_coarsening, doubled, halved
from climate.models.networks import Trunk
from vgbdm.errors import InputError

KINDS = {"centred": False, "poles": True, "box": None}


def smooth(rows, columns, kind):
    """A field of low degree (1, 1, rows, columns) on a globe, or on a part of it."""
    if kind == "poles":
        lat = torch.linspace(-90, 90, rows).double()
    else:
        lat = (torch.arange(rows).double() + 0.5) * 180 / rows - 90
    lat, lon = torch.deg2rad(lat)[:, None], 2 * math.pi * torch.arange(columns) / columns
    if kind == "box":
        lat, lon = 0.4 * lat, 0.4 * lon
    x, y = lat.cos() * lon.double().cos(), lat.cos() * lon.double().sin()
    return (x * y + lat.sin() * x + 0.3 * y)[None, None]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_even_stays_as_it_is(kind):
    rows = 17 if kind == "poles" else 16
    ones = torch.ones(2, 3, rows, 24)
    few = halved(ones, KINDS[kind])
    assert few.shape == (2, 3, 9 if kind == "poles" else 8, 12) and torch.equal(few, few * 0 + 1)
    assert torch.allclose(doubled(few, rows, 24, KINDS[kind]), ones)


@pytest.mark.parametrize("kind", KINDS)
def test_a_smooth_field_comes_back_by_second_order(kind):
    errors = []
    for scale in (1, 2, 4):
        field = smooth(16 * scale + (kind == "poles"), 32 * scale, kind)
        back = doubled(halved(field, KINDS[kind]), *field.shape[-2:], KINDS[kind])
        inner = slice(4, -4) if kind == "box" else slice(None)  # its edges go on level
        errors.append(float((back - field)[..., inner, inner].abs().max()))
    assert errors[0] < 0.2
    for coarse, fine in itertools.pairwise(errors):
        assert math.log2(coarse / fine) > 1.7, errors


@pytest.mark.parametrize("kind", ["centred", "poles"])
def test_there_is_no_seam_on_the_globe(kind):
    field = torch.randn(1, 2, 17 if kind == "poles" else 16, 24, dtype=torch.float64)
    back = doubled(halved(field, KINDS[kind]), *field.shape[-2:], KINDS[kind])
    turned = field.roll(10, -1)
    assert torch.allclose(
        doubled(halved(turned, KINDS[kind]), *field.shape[-2:], KINDS[kind]), back.roll(10, -1)
    )
    upside = field.flip(-2)
    assert torch.allclose(
        doubled(halved(upside, KINDS[kind]), *field.shape[-2:], KINDS[kind]), back.flip(-2)
    )


def test_the_row_beyond_a_pole_is_the_one_half_a_turn_away():
    few = torch.zeros(1, 1, 4, 8)
    few[0, 0, 0, 2] = 1.0
    made = doubled(few, 8, 16, False)[0, 0]
    assert torch.equal(made[0, 12:14], torch.tensor([0.1875, 0.1875]))
    assert made[0].argmax() in (4, 5) and not made[4:].any()


@pytest.mark.parametrize("rows", [8, 9])
@pytest.mark.parametrize("columns", [12, 13])
def test_a_box_of_any_size_is_halved_and_doubled(rows, columns):
    field = torch.randn(1, 2, rows, columns)
    few = halved(field, None)
    assert few.shape[-2:] == (math.ceil(rows / 2), math.ceil(columns / 2))
    assert torch.allclose(few[..., 0, 0], field[..., :2, :2].mean((-2, -1)))
    assert doubled(few, rows, columns, None).shape == field.shape


@pytest.mark.parametrize("kind", KINDS)
def test_a_coarse_trunk_has_the_same_weights_and_a_gradient_for_each(kind):
    rows = 9 if kind == "poles" else 8
    fine, coarse = (
        Trunk(3, 2, 16, 2, 0.0, poles=KINDS[kind], vector_inputs=(), coarsening=factor)
        for factor in (1, 2)
    )
    assert {n: w.shape for n, w in fine.named_parameters()} == {
        n: w.shape for n, w in coarse.named_parameters()
    }
    coarse.load_state_dict(fine.state_dict())
    torch.nn.init.ones_(fine.last.weight)
    torch.nn.init.ones_(coarse.last.weight)
    x = torch.randn(2, 3, rows, 12)
    assert not torch.allclose(fine(x), coarse(x))
    for block in (*fine.blocks, *coarse.blocks):  # without what blocks add both are the same
        torch.nn.init.zeros_(block.conv_2.conv.weight)
        torch.nn.init.zeros_(block.conv_2.conv.bias)
    assert torch.allclose(fine(x), coarse(x), atol=1e-6)
    fresh = Trunk(3, 2, 16, 2, 0.0, poles=KINDS[kind], vector_inputs=(), coarsening=2)
    torch.nn.init.normal_(fresh.last.weight)
    fresh(x).square().sum().backward()
    assert all(w.grad is not None and w.grad.any() for w in fresh.parameters())


@pytest.mark.parametrize(("rows", "poles"), [(33, False), (32, True)])
def test_rows_that_cannot_be_halved_are_refused(rows, poles):
    with pytest.raises(InputError, match=rf"{rows} rows cannot be halved.*size\.coarsening=1"):
        check_coarsening(2, rows, poles)
    check_coarsening(1, rows, poles)
    check_coarsening(2, rows, None)
    check_coarsening(2, rows + 1, poles)
