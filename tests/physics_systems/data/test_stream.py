"""Batches of trajectories, and the statistics that fields are scaled by, against numpy."""

import itertools

import numpy as np
import pytest
import torch
from system_fields import smooth

from physics_systems.data.stream import TrajectoryStream, statistics
from physics_systems.data.trajectories import Trajectories
from vgbdm.paths.hermite import HermitePath
from vgbdm.paths.linear import LinearPath
from vgbdm.training.order import Order
from vgbdm.training.shares import Share


@pytest.mark.parametrize("name", ["rlc", "reaction_diffusion"])
def test_statistics_are_those_of_the_middles_of_intervals(name):
    data, path = smooth(name), LinearPath()
    found = statistics(data, path.nodes(data.x, data.t), path, 1)
    x, gaps = data.x.double().numpy(), np.diff(data.t.numpy(), axis=1)
    rest = (1,) * (x.ndim - 2)
    middle, rate = (x[:, 1:] + x[:, :-1]) / 2, np.diff(x, axis=1) / gaps.reshape(*gaps.shape, *rest)
    axes = (0, 1, *range(3, x.ndim))
    assert found.mean == pytest.approx(middle.mean(axes), rel=1e-4, abs=1e-6)
    assert found.std == pytest.approx(middle.std(axes, ddof=1), rel=1e-5)
    assert found.rate == pytest.approx(np.sqrt((rate**2).mean(axes)), rel=1e-4)
    assert found.interval == pytest.approx(gaps.mean())


def test_statistics_of_the_second_order_are_of_velocities_and_accelerations():
    data, path = smooth("pendulum"), HermitePath()
    nodes = path.nodes(data.x, data.t)
    found = statistics(data, nodes, path, 2)
    gaps = data.t.diff(dim=1)
    points = [
        path(nodes[:, k], nodes[:, k + 1], gaps[:, k], torch.full((12,), 0.5)) for k in range(29)
    ]
    state = torch.cat([torch.cat((p.state, p.velocity), 1) for p in points]).double()
    rate = torch.cat([p.acceleration for p in points]).double()
    assert found.mean == pytest.approx(state.mean(0).tolist(), rel=1e-4)
    assert found.std == pytest.approx(state.std(0).tolist(), rel=1e-4)
    assert found.rate == pytest.approx(rate.square().mean(0).sqrt().tolist(), rel=1e-4)


def test_what_does_not_move_is_not_blown_up():
    x, t = torch.ones(3, 5, 2), torch.arange(5.0).double().expand(3, 5)
    path = LinearPath()
    still = statistics(Trajectories(x, t), path.nodes(x, t), path, 1)
    assert (still.mean, still.std, still.rate) == ([1.0, 1.0], [1e-6, 1e-6], [1e-6, 1e-6])


@pytest.mark.parametrize(("rank", "ranks"), [(0, 1), (1, 2)])
def test_batches_are_the_rows_of_the_order_and_padding_weighs_nothing(rank, ranks):
    data, path = smooth("rlc", 7), LinearPath()
    nodes, order = path.nodes(data.x, data.t), Order(np.arange(7), 7, 4, 4, 3)
    table, batches = order.epoch(0), []
    with TrajectoryStream(data, nodes, order, 4, Share.of(4, 4, rank, ranks)) as stream:
        batches = list(itertools.islice(stream, 2))
    own = table[1, rank::ranks]
    first, second = batches
    assert sorted(table[table >= 0]) == list(range(7)) and (table[1] == -1).sum() == 1
    assert first.weights.tolist() == [float(k >= 0) for k in own]
    assert first.rows.tolist() == np.maximum(own, 0).tolist() == first.origins.tolist()
    assert torch.equal(first.nodes, nodes[first.rows])
    assert torch.equal(first.times, data.t[first.rows])
    assert first.ids.tolist() == list(range(4 + rank, 8, ranks))
    assert second.ids.tolist() == list(range(8 + rank, 12, ranks))
    assert second.rows.tolist() == order.epoch(1)[0, rank::ranks].tolist()
    part = second.part(1, 2)
    assert len(part) == 1 and part.ids.tolist() == [9 + rank + (ranks - 1) * 1]
    assert part.describe() == f"trajectories {part.rows[0]} … {part.rows[0]}"
