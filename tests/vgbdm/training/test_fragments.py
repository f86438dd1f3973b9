"""Whole tensors from the parts that an optimiser keeps, and back, on one rank."""

import itertools

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vgbdm.training.backends.fragments import (
    Collector,
    Copies,
    Fragment,
    scatter,
    share_out,
    whole_parameters,
)


@given(
    st.lists(st.lists(st.integers(1, 4), min_size=0, max_size=3), min_size=1, max_size=5),
    st.lists(st.integers(1, 20), min_size=1, max_size=6),
)
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_any_cut_into_flat_tensors_comes_back(shapes, cuts):
    named = {f"p{k}": torch.Size(shape) for k, shape in enumerate(shapes)}
    total = sum(shape.numel() for shape in named.values())
    borders = sorted({0, total, *(cut for cut in cuts if cut < total)})
    flats = [torch.zeros(b - a + 2) for a, b in itertools.pairwise(borders)]
    fragments, begin = [], 0
    for name, shape in named.items():  # one value is left free at either end of a flat tensor
        for flat, (low, high) in zip(flats, itertools.pairwise(borders), strict=True):
            a, b = max(begin, low), min(begin + shape.numel(), high)
            if a < b:
                place = slice(a - low + 1, b - low + 1)
                fragments.append(Fragment(name, flat, place, a - begin))
        begin += shape.numel()
    whole = {n: torch.randn(shape, generator=torch.manual_seed(1)) for n, shape in named.items()}
    scatter(fragments, whole, lambda flat: flat)
    assert not any(flat[[0, -1]].any() for flat in flats)
    collector = Collector(named, 0, 1, torch.device("cpu"))
    found = collector.collect(fragments, lambda flat: 2 * flat, True)
    assert list(found) == list(named)
    assert all(torch.equal(found[name], 2 * value) for name, value in whole.items())


def test_what_nobody_holds_is_zero():
    named = {"a": torch.Size((2,)), "b": torch.Size((3,))}
    fragments = [Fragment("a", torch.tensor([1.0, 2.0]), slice(0, 2), 0)]
    found = Collector(named, 0, 1, torch.device("cpu")).collect(fragments, lambda f: f, False)
    assert found["a"].tolist() == [1, 2] and found["b"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("ranks", [1, 2, 3, 5, 40])
def test_ranks_share_out_what_all_hold(ranks):
    named = {"a": torch.Size((3, 4)), "b": torch.Size((1,)), "none": torch.Size((0,)),
             "c": torch.Size((17,))}  # fmt: skip
    wholes = {name: torch.randn(shape) for name, shape in named.items()}
    own = [Fragment(name, x, slice(0, x.numel()), 0) for name, x in wholes.items()]
    found = {name: torch.full((shape.numel(),), torch.nan) for name, shape in named.items()}
    counts, seen = [], set()
    for rank in range(ranks):
        pieces, cuts = Copies(named).take("m", share_out(own, rank, ranks), lambda flat: flat)
        counts.append(sum(piece.numel() for piece in pieces.values()))
        for name, piece in pieces.items():
            shape, offset = cuts[name]
            assert shape == tuple(named[name])
            assert piece.shape == shape or piece.dim() == 1
            found[name][offset : offset + piece.numel()] = piece.flatten()
        seen |= set(pieces)
    assert max(counts) - min(counts) <= 1 and sum(counts) == 30 and seen == set(named)
    assert all(torch.equal(found[name], x.flatten()) for name, x in wholes.items())


def test_copies_take_their_memory_once():
    flat = torch.tensor([1.0, 2.0, 3.0])
    copies, fragments = Copies({"a": torch.Size((2,))}), [Fragment("a", flat, slice(1, 3), 0)]
    first, _ = copies.take("m", fragments, lambda f: f)
    assert first["a"].tolist() == [2, 3]
    flat.mul_(3)
    assert first["a"].tolist() == [2, 3]
    again, _ = copies.take("m", fragments, lambda f: f)
    assert first["a"].tolist() == [6, 9] and again["a"].data_ptr() == first["a"].data_ptr()
    assert copies.take("v", fragments, lambda f: f)[0]["a"].data_ptr() != first["a"].data_ptr()


@pytest.mark.parametrize("frozen", [False, True])
def test_a_rank_that_holds_all_has_a_fragment_per_parameter(frozen):
    layer = torch.nn.Linear(2, 3)
    layer.bias.requires_grad_(False)
    found = whole_parameters(layer, frozen)
    assert [f.name for f in found] == (["weight", "bias"] if frozen else ["weight"])
    assert found[0].flat is layer.weight and (found[0].place, found[0].start) == (slice(0, 6), 0)
