"""Tasks give their results in order, whoever does them."""

import threading

import pytest
from refusals import refused

from vgbdm.tasks import Dask, run_tasks


def add(shared, item):
    return shared + item


@pytest.mark.parametrize("dask", [Dask("synchronous"), Dask("threads", 3), Dask()])
def test_each_item_is_worked_on_and_taken_in_its_order(dask):
    taken = []
    run_tasks(add, 100, range(20), taken.append, dask, "while it added")
    assert taken == list(range(100, 120))


def test_results_that_come_early_wait_for_those_before_them():
    first, taken = threading.Event(), []

    def work(shared, item):
        if item == 0:
            assert first.wait(300)
        elif item == 2:
            first.set()
        return item

    run_tasks(work, None, range(3), taken.append, Dask("threads", 3), "")
    assert taken == [0, 1, 2]


def test_an_error_of_a_task_is_raised():
    def work(shared, item):
        raise ValueError(f"item {item}")

    with pytest.raises(ValueError, match="item"):
        run_tasks(work, None, range(3), print, Dask("threads", 2), "")


def test_what_is_no_scheduler_is_refused():
    refused(lambda: Dask("process"), "dask.scheduler=process", "want threads, synchronous or tcp")
    assert Dask("tcp://host:8786").is_cluster and not Dask().is_cluster
    assert Dask("synchronous", 8).threads == 1 and Dask("threads", 8).threads == 8
