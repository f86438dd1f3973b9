"""Where windows begin and matches lie: their distributions, one by one."""

import pytest
import torch

from vgbdm.objectives.places import LastInterval, WindowSampler, first_frames, gather, span

COUNT, FRAMES, WINDOW = 4000, 21, 6


def places(intervals, matches, history=1, seed=0):
    sampler = WindowSampler(matches, intervals, seed)
    return sampler(torch.arange(COUNT), FRAMES, WINDOW, history)


def span_of(intervals, start, history):
    """First and last time that a match may have, in frames, as numbers per window."""
    low, high = torch.full_like(start, history - 1), torch.full_like(start, FRAMES - 1)
    if intervals == "window":
        return torch.maximum(low, start), start + WINDOW - 1
    if intervals == "after":
        return torch.maximum(low, start + WINDOW - 1), high
    return low, high


@pytest.mark.parametrize("history", [1, 3])
@pytest.mark.parametrize("intervals", ["trajectory", "window", "after"])
def test_matches_are_uniform_in_equal_parts_of_their_span(intervals, history):
    start, interval, s = places(intervals, 4, history)
    low, high = span_of(intervals, start, history)
    share = (interval + s - low[:, None]) / (high - low)[:, None] * 4 - torch.arange(4)
    assert float(share.min()) >= -1e-9 and float(share.max()) <= 1 + 1e-9
    for part in share.T:
        quantiles = part.double().quantile(torch.linspace(0, 1, 9).double())
        assert torch.allclose(quantiles, torch.linspace(0, 1, 9).double(), atol=0.03)
    between = torch.corrcoef(share.T.double()) - torch.eye(4)
    assert between.abs().max() < 0.05
    assert s.min() >= 0 and s.max() <= 1 and (interval < high[:, None]).all()


@pytest.mark.parametrize(("intervals", "last"), [("trajectory", 15), ("window", 15), ("after", 14)])
def test_half_of_the_windows_begin_at_frame_0_and_the_others_anywhere(intervals, last):
    start = places(intervals, 1).start
    shares = torch.bincount(start, minlength=last + 1).double() / COUNT
    exact = torch.full((last + 1,), 0.5 / (last + 1)).double()
    exact[0] += 0.5
    assert shares.shape == exact.shape
    assert torch.allclose(shares, exact, atol=0.02) and (shares > 0.01).all()


def test_where_the_first_frame_is_drawn_from():
    draws = torch.tensor([[0.49, 0.99], [0.5, 0.0], [0.51, 0.19], [0.9, 0.2], [0.9, 0.999]])
    assert first_frames(draws, 4).tolist() == [0, 0, 0, 1, 4]


def test_places_depend_on_the_seed():
    assert not torch.equal(places("trajectory", 2).s, places("trajectory", 2, seed=1).s)


def test_values_are_gathered_row_by_row():
    values = torch.arange(12).reshape(2, 6)
    assert gather(values, torch.tensor([[0, 5], [2, 1]])).tolist() == [[0, 5], [8, 7]]
    assert span(torch.tensor([3, 7]), 3).tolist() == [[3, 4, 5], [7, 8, 9]]


def test_one_match_lies_in_the_last_interval_of_all_frames():
    start, interval, s = LastInterval(3)(torch.arange(COUNT), 5, 5, 4)
    assert start.tolist() == [0] * COUNT and interval.tolist() == [[3]] * COUNT
    assert s.shape == (COUNT, 1) and s.dtype == torch.float32
    assert float(s.mean()) == pytest.approx(0.5, abs=0.02) and s.min() >= 0 and s.max() <= 1
    assert not torch.equal(LastInterval(4)(torch.arange(COUNT), 5, 5, 4).s, s)


@pytest.mark.parametrize("intervals", ["trajectory", "window", "after"])
def test_the_ends_of_a_trajectory_are_left_out_where_a_path_cannot_be_matched(intervals):
    ids = torch.arange(COUNT)
    for frames, edge, wanted in ((41, 3, 3), (FRAMES, 3, 2), (9, 3, 0)):
        places = WindowSampler(4, intervals, 0)(ids, frames, WINDOW, 1, edge)
        assert int(places.interval.max()) == frames - 2 - wanted
        assert int(places.interval.min()) >= wanted
        assert (intervals == "after") == (int(places.interval.min()) > wanted)
        assert places.s.min() >= 0 and places.s.max() <= 1
