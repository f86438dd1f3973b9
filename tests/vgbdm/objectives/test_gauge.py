"""The penalty of what the network adds, in closed form."""

import pytest
import torch

from vgbdm.objectives.gauge import gauge


def test_each_part_pays_its_rms_less_what_keeps_it_smooth():
    squares = torch.tensor([[3e-6, 9.0], [0.0, 0.0], [1e-8, 1e-4]], dtype=torch.float64)
    exact = [1e-3 + (9 + 1e-6) ** 0.5 - 1e-3, 0.0, 1.01e-6**0.5 + 1.01e-4**0.5 - 2e-3]
    assert gauge(squares).tolist() == pytest.approx(exact, rel=1e-9, abs=1e-15)


def test_its_slope_at_zero_is_that_of_half_an_epsilon():
    squares = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    gauge(squares).sum().backward()
    assert squares.grad.flatten().tolist() == pytest.approx([500.0, 500.0])
