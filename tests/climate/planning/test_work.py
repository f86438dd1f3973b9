"""Work is counted by its kind, without numbers as with them, and seconds are shared among kinds."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from climate.planning.work import Work, WorkCounter, work_of

WORD = 4


def small():
    """A product, a view of it, and a sum of 2 × 4 numbers and themselves."""
    held = torch.ones(2, 3).mm(torch.ones(3, 4))
    return held.view(4, 2) + 1.0


@pytest.mark.parametrize("fake", [False, True])
def test_each_kind_is_counted_apart(fake):
    given, kernel = torch.ones(1, 2, 8, 8), torch.ones(3, 2, 3, 3)

    def run():
        torch.nn.functional.conv2d(given, kernel)
        torch.fft.rfft(given[0, 0])

    work = work_of(small)
    assert work.products == 2 * 2 * 3 * 4 and work.convolutions == 0
    assert work.moved == WORD * (2 * 3 + 3 * 4) + 2 * WORD * 8  # ones written; a sum
    if fake:
        with FakeTensorMode(allow_non_fake_inputs=True):
            assert work_of(small) == work
            found = work_of(run)
    else:
        found = work_of(run)
    assert found.convolutions == 2 * 3 * 6 * 6 * 2 * 9 and found.products == 0
    assert found.moved == WORD * 8 * 8 + 2 * WORD * 8 * 5  # of the transform


def test_backward_passes_count():
    weight = torch.ones(3, 4, requires_grad=True)
    alone = work_of(lambda: torch.ones(2, 3).mm(weight))
    assert work_of(lambda: torch.ones(2, 3).mm(weight).sum().backward()).products == (
        2 * alone.products
    )


def test_rates_give_back_the_seconds_that_they_were_taken_from():
    held, other = torch.ones(2, 3), torch.ones(3, 4)
    clock = iter([0.0, 5.0, 5.0, 6.0, 6.0, 16.0])  # a product 5 s, a view 1 s, a sum 10 s
    with WorkCounter(lambda: next(clock)) as counter:
        held.mm(other).view(4, 2) + 1.0
    rates = counter.rates(16.0)
    assert rates.calls == pytest.approx(1.0)
    assert rates.products == pytest.approx(5 * (13 / 15) / 48)
    assert rates.moved == pytest.approx(10 * (13 / 15) / (2 * WORD * 8))
    assert counter.work.seconds(rates) == pytest.approx(16.0)
    assert counter.work.seconds(counter.rates(32.0)) == pytest.approx(32.0)


def test_more_of_one_kind_takes_longer_by_that_kind_alone():
    rates = Work(1.0, 10.0, 100.0, 1000.0)
    assert Work(2, 3, 4, 5).seconds(rates) == 2 + 30 + 400 + 5000
    assert (Work(1, 1, 1, 1) + Work(1, 2, 3, 4).scaled(2)).seconds(rates) == 3 + 50 + 700 + 9000
