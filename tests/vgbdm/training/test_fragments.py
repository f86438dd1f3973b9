"""Whole tensors from the parts that an optimiser keeps, and back, on one rank."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vgbdm.training.backends.fragments import Collector, Fragment, scatter, whole_parameters


@given(
    st.lists(st.lists(st.integers(1, 4), min_size=0, max_size=3), min_size=1, max_size=5),
    st.lists(st.integers(1, 20), min_size=1, max_size=6),
)
@settings(max_examples=15, deadline=None, derandomize=True)
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
    found = collector.collect(None, fragments, lambda flat: 2 * flat, True, False)
    assert list(found) == list(named)
    assert all(torch.equal(found[name], 2 * value) for name, value in whole.items())


def test_memory_with_a_key_is_taken_once_and_what_nobody_holds_is_zero():
    named = {"a": torch.Size((2,)), "b": torch.Size((3,))}
    flat = torch.tensor([1.0, 2.0])
    fragments = [Fragment("a", flat, slice(0, 2), 0)]
    collector = Collector(named, 0, 1, torch.device("cpu"))
    first = collector.collect("m", fragments, lambda f: f, False, True)
    assert first["a"].tolist() == [1, 2] and first["b"].tolist() == [0, 0, 0]
    flat.mul_(3)
    again = collector.collect("m", fragments, lambda f: f, False, True)
    fresh = collector.collect(None, fragments, lambda f: f, False, True)
    assert first["a"].tolist() == [3, 6] and again["a"].data_ptr() == first["a"].data_ptr()
    assert fresh["a"].data_ptr() != first["a"].data_ptr()
    other = Collector(named, 1, 2, torch.device("cpu"))
    assert other.collect("m", fragments, lambda f: f, parts=False, everywhere=False) == {}


@pytest.mark.parametrize("frozen", [False, True])
def test_a_rank_that_holds_all_has_a_fragment_per_parameter(frozen):
    layer = torch.nn.Linear(2, 3)
    layer.bias.requires_grad_(False)
    found = whole_parameters(layer, frozen)
    assert [f.name for f in found] == (["weight", "bias"] if frozen else ["weight"])
    assert found[0].flat is layer.weight and (found[0].place, found[0].start) == (slice(0, 6), 0)
