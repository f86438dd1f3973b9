"""Paths: end points, orders of convergence on a known solution, irregular times."""

import math

import pytest
import torch

from vgbdm.errors import InputError
from vgbdm.paths.bridge import BridgePath
from vgbdm.paths.derivatives import derivatives
from vgbdm.paths.hermite import HermitePath
from vgbdm.paths.lagrange import LagrangePath
from vgbdm.paths.linear import LinearPath
from vgbdm.registry.build import rebuild

PATHS = {"linear": LinearPath(), "lagrange3": LagrangePath(), "hermite": HermitePath(5)}
CURVES = PATHS | {"smoothing": HermitePath(5, smoothing=0.5)}
EVERY = CURVES | {"bridge": BridgePath(0.3)}


def last(path, frames, times, s, noise=None):
    """The point at ``s`` of the last interval of a window."""
    nodes = path.nodes(frames, times)
    return path(nodes[:, -2], nodes[:, -1], times[:, -1] - times[:, -2], s, noise)


def window(spacing: float, *, irregular: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames of (sin t, exp(-t/2) cos 2t) around t = 0.7: (2, 5, 2), and their times (2, 5)."""
    offsets = torch.tensor([-3.0, -2.0, -1.0, 0.0, 1.0], dtype=torch.float64)
    if irregular:
        offsets = offsets + torch.tensor([0.2, -0.25, 0.1, 0.0, 0.15], dtype=torch.float64)
    times = 0.7 + spacing * torch.stack((offsets, offsets + 0.3))
    return solution(times), times


def solution(t: torch.Tensor) -> torch.Tensor:
    return torch.stack((t.sin(), torch.exp(-t / 2) * torch.cos(2 * t)), -1)


def velocity(t: torch.Tensor) -> torch.Tensor:
    wave = torch.exp(-t / 2) * (-0.5 * torch.cos(2 * t) - 2 * torch.sin(2 * t))
    return torch.stack((t.cos(), wave), -1)


def acceleration(t: torch.Tensor) -> torch.Tensor:
    wave = torch.exp(-t / 2) * (-3.75 * torch.cos(2 * t) + 2 * torch.sin(2 * t))
    return torch.stack((-t.sin(), wave), -1)


def worst_errors(path, spacing: float, irregular: bool) -> torch.Tensor:
    """Of velocity and acceleration."""
    frames, times = window(spacing, irregular=irregular)
    errors = []
    for position in torch.linspace(0.03, 0.97, 9, dtype=torch.float64):
        s = position.expand(2)
        point = last(path, frames, times, s)
        now = torch.lerp(times[:, 3], times[:, 4], s)
        pairs = ((point.velocity, velocity(now)), (point.acceleration, acceleration(now)))
        errors.append(torch.stack([(a - b).abs().max() for a, b in pairs]))
    return torch.stack(errors).amax(0)


@pytest.mark.parametrize("irregular", [False, True])
@pytest.mark.parametrize(("name", "order"), [("linear", 1), ("lagrange3", 2), ("hermite", 3)])
def test_velocity_converges_with_the_order_of_the_path(name, order, irregular):
    coarse, fine = (worst_errors(PATHS[name], h, irregular)[0] for h in (0.02, 0.01))
    assert math.log2(coarse / fine) > order - 0.2


@pytest.mark.parametrize("irregular", [False, True])
@pytest.mark.parametrize(("name", "order"), [("lagrange3", 1), ("hermite", 2)])
def test_acceleration_converges_with_the_order_of_the_path(name, order, irregular):
    coarse, fine = (worst_errors(PATHS[name], h, irregular)[1] for h in (0.02, 0.01))
    assert math.log2(coarse / fine) > order - 0.2


@pytest.mark.parametrize(("width", "order"), [(3, 2), (5, 4), (7, 6)])
def test_derivatives_converge_with_the_width_of_their_stencil(width, order):
    errors = []
    for spacing in (0.04, 0.02):
        offsets = torch.arange(9, dtype=torch.float64) + 0.2 * torch.tensor([0, 1, -1] * 3)
        times = 0.3 + spacing * offsets[None]
        slope, bend = derivatives(solution(times), times, width)
        pairs = ((slope, velocity(times)), (bend, acceleration(times)))
        errors.append([float((a - b).abs().max()) for a, b in pairs])
    (coarse, coarse_bend), (fine, fine_bend) = errors
    assert math.log2(coarse / fine) > order - 0.4
    assert math.log2(coarse_bend / fine_bend) > order - 1.4


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_paths_pass_through_both_frames(path):
    frames, times = window(0.1, irregular=True)
    for s, frame in ((0.0, 3), (1.0, 4)):
        point = last(path, frames, times, torch.full((2,), s, dtype=torch.float64))
        assert torch.allclose(point.state, frames[:, frame], atol=1e-12)


@pytest.mark.parametrize("path", CURVES.values(), ids=CURVES)
def test_velocity_is_the_derivative_of_the_path(path):
    frames, times = window(0.3, irregular=True)
    s = torch.tensor([0.3, 0.8], dtype=torch.float64)
    length = (times[:, 4] - times[:, 3])[:, None]
    step = 1e-5
    ahead, behind = (last(path, frames, times, s + d).state for d in (step, -step))
    slope = (ahead - behind) / (2 * step) / length
    assert torch.allclose(last(path, frames, times, s).velocity, slope, atol=1e-8)
    ahead, behind = (last(path, frames, times, s + d).velocity for d in (step, -step))
    change = (ahead - behind) / (2 * step) / length
    assert torch.allclose(last(path, frames, times, s).acceleration, change, atol=1e-7)


@pytest.mark.parametrize("path", CURVES.values(), ids=CURVES)
def test_derivatives_are_those_of_the_curve_between_any_two_nodes(path):
    """Nodes that share no polynomial: every coefficient of the curve counts."""
    numbers = torch.Generator().manual_seed(2)
    a, b = (torch.randn((3, 3, 2), generator=numbers, dtype=torch.float64) for _ in range(2))
    length = torch.tensor([0.4, 1.3, 2.2], dtype=torch.float64)
    s, step = torch.tensor([0.3, 0.6, 0.8], dtype=torch.float64), 1e-5
    ahead, behind = (path(a, b, length, s + d) for d in (step, -step))
    here, gap = path(a, b, length, s), (2 * step * length)[:, None]
    assert torch.allclose(here.velocity, (ahead.state - behind.state) / gap, atol=1e-6)
    assert torch.allclose(here.acceleration, (ahead.velocity - behind.velocity) / gap, atol=1e-6)


def test_bridge_has_its_spread_and_its_own_derivative():
    path = BridgePath(sigma=0.5, margin=0.02)
    frames, times = (
        torch.zeros(20000, 2, 1, dtype=torch.float64),
        torch.tensor([[0.0, 2.0]]).double(),
    )
    times = times.expand(20000, 2)
    noise = torch.randn((20000, 1), dtype=torch.float64, generator=torch.manual_seed(0))
    s = torch.full((20000,), 0.25, dtype=torch.float64)
    inner = 0.02 + 0.96 * 0.25
    point = last(path, frames, times, s, noise)
    assert point.state.std() == pytest.approx(0.5 * math.sqrt(inner * (1 - inner)), rel=0.02)
    d = 1e-6
    slope = last(path, frames, times, s + d, noise).state
    slope = slope - last(path, frames, times, s - d, noise).state
    assert torch.allclose(point.velocity, slope / (2 * d * 0.96 * 2.0), atol=1e-6)
    change = last(path, frames, times, s + d, noise).velocity
    change = change - last(path, frames, times, s - d, noise).velocity
    assert torch.allclose(point.acceleration, change / (2 * d * 0.96 * 2.0), atol=1e-6)


def test_a_bridge_is_the_straight_line_and_its_bump():
    a, b = torch.tensor([[[1.0, -3.0]]]).double(), torch.tensor([[[2.0, 5.0]]]).double()
    length, s, noise = torch.tensor([0.5]), torch.tensor([0.2]), torch.tensor([[2.0, -1.0]])
    point = BridgePath(0.3, 0.1)(a, b, length, s.double(), noise.double())
    inner = 0.1 + 0.8 * 0.2
    root = math.sqrt(inner * (1 - inner))
    bump = 0.3 * noise.double()
    state = (1 - inner) * a[:, 0] + inner * b[:, 0] + root * bump
    assert torch.allclose(point.state, state)
    rise = (b - a)[:, 0] / 0.5 + bump * (1 - 2 * inner) / (2 * root) / 0.5
    assert torch.allclose(point.velocity, rise)
    plain = BridgePath(0.3, 0.1)(a, b, length, s.double())
    assert torch.allclose(plain.velocity, (b - a)[:, 0] / 0.5)


def test_the_length_of_the_interval_is_exact():
    """No constant in the denominator: a straight line gives its own slope."""
    times = torch.tensor([[0.0, 0.01, 0.02, 0.03, 0.04]], dtype=torch.float64)
    frames = (3.0 * times)[..., None]
    for path in PATHS.values():
        answer = last(path, frames, times, torch.tensor([0.4], dtype=torch.float64))
        assert float(answer.velocity) == pytest.approx(3.0, rel=1e-10)


def long_window(spacing: float, count: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    """Irregular frames (1, L, 2) of the known solution, and their times."""
    offsets = torch.arange(count) + 0.3 * torch.sin(torch.arange(count) * 2.0)
    times = (0.2 + spacing * offsets)[None].double()
    return solution(times), times


def test_a_hermite_path_has_fifth_order_where_its_stencil_allows():
    errors = []
    for spacing in (0.08, 0.04):
        frames, times = long_window(spacing, 20)
        nodes, s = HermitePath(9).nodes(frames, times)[0], torch.full((19,), 0.2).double()
        gaps = times[0].diff()
        point = HermitePath(9)(nodes[:-1], nodes[1:], gaps, s)
        now = times[0, :-1] + 0.2 * gaps
        pairs = ((point.velocity, velocity(now)), (point.acceleration, acceleration(now)))
        errors.append(torch.stack([(a - b)[6:-6].abs().max() for a, b in pairs]))
    orders = torch.log2(errors[0] / errors[1])
    assert float(orders[0]) > 4.6 and float(orders[1]) > 3.6


@pytest.mark.parametrize("end", ["first", "last"])
@pytest.mark.parametrize(
    ("path", "order", "coarse"),
    [(LinearPath(), 1, 0.005), (LagrangePath(), 2, 0.02), (HermitePath(5), 4, 0.02),
     (HermitePath(7), 5, 0.08)],
)  # fmt: skip
def test_targets_at_the_ends_of_a_trajectory_are_of_the_order_of_the_path(path, order, coarse, end):
    errors = []
    for spacing in (coarse, coarse / 2):
        times = long_window(spacing, 16)[1]
        times = times - times[:, [0 if end == "first" else -1]] + 0.7  # the end stays where it is
        frames = solution(times)
        nodes, s = path.nodes(frames, times)[0], torch.full((15,), 0.2).double()
        gaps = times[0].diff()
        off = path(nodes[:-1], nodes[1:], gaps, s).velocity - velocity(times[0, :-1] + 0.2 * gaps)
        errors.append(off[:3] if end == "first" else off[-3:])
    assert float(torch.log2(errors[0].abs().max() / errors[1].abs().max())) > order - 0.2


@pytest.mark.parametrize("path", EVERY.values(), ids=EVERY)
def test_derivatives_at_frames_are_those_where_the_curves_meet(path):
    frames, times = window(0.05, irregular=True)
    point = path.at_frames(path.nodes(frames, times), times)
    assert all(part.shape == frames.shape for part in point)
    close = {"linear": 0.4, "bridge": 0.4, "lagrange3": 0.05, "smoothing": 0.4, "hermite": 1e-3}
    name = next(name for name, one in EVERY.items() if one is path)
    assert (point.velocity - velocity(times)).abs().max() < close[name]
    if name not in ("smoothing",):
        assert torch.allclose(point.state, frames)
    if 2 in path.orders and name != "smoothing":
        assert (point.acceleration - acceleration(times)).abs().max() < 1.5


def test_second_derivatives_are_promised_where_curves_bend():
    assert {name for name, path in EVERY.items() if 2 in path.orders} == {
        "lagrange3",
        "hermite",
        "smoothing",
    }
    for name in ("linear", "bridge"):
        with pytest.raises(InputError, match=r"accelerations.*take path=hermite"):
            EVERY[name].check_order(2)


@pytest.mark.parametrize("path", EVERY.values(), ids=EVERY)
def test_a_path_is_made_again_from_its_config(path):
    again = rebuild(path.config())
    assert type(again) is type(path) and vars(again) == vars(path)


def test_frames_inside_are_those_whose_derivatives_are_good():
    assert HermitePath().inside(30) == slice(3, 27) and HermitePath().inside(12) == slice(1, 11)
    assert LinearPath().inside(30) == slice(0, 30) and LinearPath().edge == 0
    assert HermitePath().edge == 0 and HermitePath(smoothing=1.0).edge == 3


def test_too_short_windows_and_bad_options_are_refused():
    frames, times = torch.zeros(1, 2, 1), torch.tensor([[0.0, 1.0]])
    for path in (LagrangePath(), HermitePath()):
        with pytest.raises(InputError, match="2 frames"):
            path.nodes(frames, times)
    with pytest.raises(InputError, match="smoothing=-1"):
        HermitePath(smoothing=-1.0)
    for options in ((0.1, 0.7), (0.1, 0.5), (0.1, 0.0), (-0.1, 0.1)):
        with pytest.raises(InputError, match="margin"):
            BridgePath(*options)
    with pytest.raises(InputError, match="stencil=2"):
        HermitePath(2)
    assert BridgePath(0.0, 0.49).sigma == 0.0 and HermitePath(3).stencil == 3
    with pytest.raises(InputError, match="needs at least 4"):
        HermitePath(smoothing=1.0).nodes(torch.zeros(1, 3, 1), torch.arange(3.0)[None])
    assert LinearPath().nodes(frames, times).shape == (1, 2, 1, 1)
