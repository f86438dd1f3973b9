"""Tables by bands against whole ones, their size, gradients, and fake tensors."""

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from climate.grids.grid import Grid
from climate.operators import harmonics, legendre
from climate.operators.harmonics import BandedHarmonics, WholeHarmonics
from climate.operators.sphere import SpectralOperators
from climate.operators.table_cache import tables_kept_in

RADIUS = 6.371e6


@pytest.fixture(autouse=True)
def small_bands(monkeypatch, tmp_path):
    monkeypatch.setattr(legendre, "BAND", 8)
    with tables_kept_in(tmp_path):
        yield


def make_grid(height: int, width: int) -> Grid:
    """With the poles where the number of rows is odd."""
    spacing = 180.0 / height
    lat = -90 + spacing * (np.arange(height) + 0.5)
    return Grid(np.linspace(-90, 90, height) if height % 2 else lat, np.arange(width) * 360 / width)


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.manual_seed(0))


def relative(got: torch.Tensor, want: torch.Tensor) -> float:
    return float((got - want).abs().max() / want.abs().max())


@pytest.mark.parametrize(
    ("height", "width", "truncation"),
    [(32, 64, 21), (33, 64, 21), (32, 64, 22), (33, 64, 30), (32, 64, 31), (34, 68, 1),
     (61, 120, 39)],
)  # fmt: skip
def test_bands_give_what_whole_tables_give(height, width, truncation):
    grid = make_grid(height, width)
    whole, banded = (kind(grid, truncation, RADIUS) for kind in (WholeHarmonics, BandedHarmonics))
    field = noise(3, height, width)
    modes = whole.analysis(field)
    assert relative(banded.analysis(field), modes) < 1e-6
    assert relative(banded.synthesis(modes), whole.synthesis(modes)) < 1e-6
    for got, want in zip(banded.gradient(modes), whole.gradient(modes), strict=True):
        assert relative(got, want) < 1e-6


@pytest.mark.parametrize("height", [32, 33])
def test_gradients_through_bands_are_those_through_whole_tables(height):
    grid = make_grid(height, 64)
    found = []
    for kind in (WholeHarmonics, BandedHarmonics):
        operators, field = kind(grid, 22, 1.0), noise(2, height, 64).requires_grad_()
        modes = operators.analysis(field)
        east, north = operators.gradient(modes)
        weights = noise(3, *field.shape)
        both = torch.stack((operators.synthesis(modes), east, north))
        found.append(torch.autograd.grad((both * weights).sum() + modes.square().sum(), field)[0])
    assert relative(*found) < 1e-6


def test_bands_hold_a_quarter_of_the_numbers():
    """(1 + 1/bands) / 4 of them, but for the row at the equator."""
    grid = make_grid(60, 120)
    whole, banded = (kind(grid, 39, RADIUS) for kind in (WholeHarmonics, BandedHarmonics))
    dense = sum(t.numel() for t in whole.buffers() if t.dim() == 3)
    held = sum(t.numel() for t in banded.buffers())
    assert held / dense == pytest.approx((1 + 1 / 5) / 4, rel=1e-9)


def test_fine_grids_take_bands_and_coarse_ones_whole_tables(monkeypatch):
    monkeypatch.setattr(harmonics, "FINE", 20)
    assert type(SpectralOperators(make_grid(32, 64), 19).harmonics) is WholeHarmonics
    assert type(SpectralOperators(make_grid(32, 64), 20).harmonics) is BandedHarmonics


def test_bands_are_even_and_cover_every_order_once():
    for truncation in (1, 7, 8, 21, 22, 79):
        starts = legendre.band_starts(truncation)
        assert starts.start == 0 and starts.step % 2 == 0 and starts.step <= 8
        assert starts[-1] <= truncation < starts[-1] + starts.step


def test_latitudes_that_are_written_in_few_digits_are_taken_as_symmetric():
    """As in files that keep them in float32, or in three digits."""
    grid = make_grid(32, 64)
    shifted = Grid(grid.lat + 4e-4 * noise(32).numpy().clip(-1, 1), grid.lon)
    modes = WholeHarmonics(grid, 21, 1.0).analysis(noise(1, 32, 64))
    assert relative(BandedHarmonics(shifted, 21, 1.0).synthesis(modes),
                    WholeHarmonics(grid, 21, 1.0).synthesis(modes)) < 1e-3  # fmt: skip


def test_tables_are_in_no_state_and_shapes_need_no_numbers():
    operators = SpectralOperators(make_grid(33, 64))
    operators.harmonics = BandedHarmonics(make_grid(33, 64), 21, RADIUS)
    assert not operators.state_dict()
    with FakeTensorMode() as mode:
        for module in operators.modules():
            for name, table in module._buffers.items():
                module._buffers[name] = mode.from_tensor(table)
        east, north = operators.gradient(torch.empty(2, 3, 33, 64))
        modes = operators.analysis(torch.empty(2, 3, 33, 64))
    assert east.shape == north.shape == (2, 3, 33, 64)
    assert modes.shape == (22, 12, 22)


@pytest.mark.parametrize("kind", [WholeHarmonics, BandedHarmonics])
@pytest.mark.parametrize(("height", "truncation"), [(32, 20), (33, 21), (61, 30)])
def test_tables_without_numbers_are_shaped_as_those_with(kind, height, truncation):
    def shapes():
        tables = kind(make_grid(height, 64), truncation, RADIUS).named_buffers()
        return {name: (tuple(table.shape), table.dtype) for name, table in tables}

    real = shapes()
    with FakeTensorMode():
        assert shapes() == real


@pytest.mark.slow
def test_bands_compile_to_one_graph():
    banded = BandedHarmonics(make_grid(33, 64), 21, 1.0)

    def smoothed(field: torch.Tensor) -> torch.Tensor:
        return banded.synthesis(banded.analysis(field))

    field = noise(2, 33, 64)
    compiled = torch.compile(smoothed, backend="eager", fullgraph=True, dynamic=False)
    assert torch.equal(compiled(field), smoothed(field))
