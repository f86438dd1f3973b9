"""The transforms against torch-harmonics' own, and against themselves."""

import math

import pytest
import torch
from torch_harmonics import InverseRealVectorSHT, RealSHT

from climate.sample.harmonics import GaussianTransform, Synthesis
from vgbdm.errors import InputError


def random_coefficients(truncation: int, fields: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (fields, truncation + 1, truncation + 1, 2)
    values = torch.view_as_complex(torch.randn(shape, generator=generator, dtype=torch.float64))
    values = values.triu().permute(1, 2, 0).contiguous()
    values[0].imag = 0.0
    return values


@pytest.fixture(params=[21, 31], ids=["T21", "T31"])
def transform(request):
    return GaussianTransform(request.param)


def test_round_trip(transform):
    coefficients = random_coefficients(transform.truncation, 3)
    again = transform.coefficients(transform.values(coefficients))
    torch.testing.assert_close(again, coefficients, rtol=0, atol=1e-11)


def test_analysis_is_that_of_torch_harmonics(transform):
    size, latitudes = transform.truncation + 1, len(transform.latitudes)
    values = transform.values(random_coefficients(transform.truncation, 2))
    theirs = RealSHT(latitudes, 2 * latitudes, lmax=size, mmax=size, grid="legendre-gauss").double()
    north_first = values.permute(2, 1, 0).flip(1)
    ours = transform.coefficients(values).permute(2, 1, 0)
    torch.testing.assert_close(theirs(north_first), ours, rtol=0, atol=1e-11)


def test_wind_is_that_of_torch_harmonics(transform):
    size, latitudes = transform.truncation + 1, len(transform.latitudes)
    psi_chi = random_coefficients(transform.truncation, 2)
    theirs = InverseRealVectorSHT(
        latitudes, 2 * latitudes, lmax=size, mmax=size, grid="legendre-gauss"
    ).double()
    potentials = torch.stack((psi_chi[..., 1], -psi_chi[..., 0])).transpose(1, 2)
    south, east = theirs(potentials).flip(1).permute(0, 2, 1)
    ours = transform.wind(psi_chi, radius=1.0)
    torch.testing.assert_close(ours, torch.stack((east, -south), -1), rtol=0, atol=1e-10)


def test_curl_and_divergence_of_wind_are_laplacians(transform):
    psi_chi = random_coefficients(transform.truncation, 2)
    wind = transform.wind(psi_chi, radius=2.0).unsqueeze(-1)
    _, divergence, curl = transform.analyse(wind[..., 0, :][..., :0], wind, radius=2.0)
    degree = torch.arange(transform.truncation + 1, dtype=torch.float64)
    minus_laplacian = (degree * (degree + 1))[None, :] / 4.0
    found = torch.cat((curl, divergence), dim=-1)
    expected = -minus_laplacian.unsqueeze(-1) * psi_chi
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10 * float(expected.abs().max()))


def test_products_up_to_the_truncation_are_not_aliased(transform):
    """The product of two fields has the coefficients that a much finer grid gives."""
    coefficients = random_coefficients(transform.truncation, 2)
    product = transform.values(coefficients).prod(-1, keepdim=True)
    size = transform.truncation + 1
    finer = GaussianTransform(2 * transform.truncation)
    padded = coefficients.new_zeros(finer.truncation + 1, finer.truncation + 1, 2)
    padded[:size, :size] = coefficients
    exact = finer.coefficients(finer.values(padded).prod(-1, keepdim=True))[:size, :size]
    torch.testing.assert_close(transform.coefficients(product), exact, rtol=0, atol=1e-10)


def test_synthesis_on_other_latitudes_is_exact():
    latitudes = torch.deg2rad(-90 + 5.625 * (torch.arange(32, dtype=torch.float64) + 0.5))
    other = Synthesis(31, latitudes, 64)
    transform = GaussianTransform(31)
    longitudes = torch.arange(96, dtype=torch.float64) * 2 * math.pi / 96

    def field(lat: torch.Tensor, lon: torch.Tensor) -> torch.Tensor:
        return lat.sin() ** 3 + lat.cos() ** 4 * (4 * lon[:, None]).cos()

    coefficients = transform.coefficients(field(transform.latitudes, longitudes).unsqueeze(-1))
    here = torch.arange(64, dtype=torch.float64) * 2 * math.pi / 64
    values = other.values(coefficients)[..., 0]
    torch.testing.assert_close(values, field(latitudes, here), rtol=0, atol=1e-11)


def test_too_few_longitudes_are_refused():
    with pytest.raises(InputError, match="truncation 40: 64 longitudes"):
        Synthesis(40, torch.zeros(3, dtype=torch.float64), 64)
