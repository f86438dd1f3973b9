"""The numbers a model takes from a store: scales of vectors, the climate."""

import numpy as np
import pytest
import torch

from climate.models.domain import Domain
from climate.models.step_change import step_change

HOUR = np.timedelta64(3600, "s")


def area_of(store):
    weights = np.cos(np.deg2rad(store.lat))[:, None]
    return weights / weights.mean()


def test_a_vector_keeps_its_zero_and_has_one_scale(store):
    made = Domain.from_store(store, 6 * HOUR, [["u10", "v10"]], 2)
    train = store.read(0, 288).astype(np.float64)
    mean = (train * area_of(store)).mean((0, 2, 3))
    spread = np.sqrt(((train - mean[:, None, None]) ** 2 * area_of(store)).mean((0, 2, 3)))
    length = np.sqrt((train[:, 1:] ** 2 * area_of(store)).mean())
    arrays = made.arrays
    assert arrays["mean"] == pytest.approx([mean[0], 0, 0], rel=1e-6, abs=1e-12)
    assert arrays["scale"] == pytest.approx([spread[0], length, length], rel=1e-6)
    change = step_change(store, 6 * HOUR)
    assert arrays["change"] == pytest.approx(change / arrays["scale"])
    shifted = train.mean(0) - arrays["mean"][:, None, None]
    want = shifted / arrays["scale"][:, None, None]
    assert arrays["climate"] == pytest.approx(want, abs=1e-5)
    for k, name in enumerate(made.static_names):
        field = store.static[name]
        assert arrays["static"][k] == pytest.approx((field - field.mean()) / field.std(), abs=1e-6)
    assert made.static_names == tuple(sorted(store.static))
    assert (made.history, made.step_seconds) == (2, 21600)
    assert made.vector_channels == [1, 2]
    assert made.largest_winds == pytest.approx([np.abs(train[:, 1:]).max()])
    for name, held in made.buffers().items():
        assert np.allclose(held.numpy().ravel(), arrays[name].ravel(), atol=1e-5), name
        assert held.dtype == torch.float32
