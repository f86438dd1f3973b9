"""Batches on their way to a device, with stand-ins for its streams and events."""

import contextlib
import threading

import pytest
import torch
from tiny import Points

from vgbdm.training.transfer import Feed, device_of, to_numbers

CPU = torch.device("cpu")


class StandIn:
    """The streams of a device that does nothing until it is told; `log` holds what was asked."""

    def __init__(self):
        self.log, self.now = [], "main"

    def Stream(self, device):
        return "copying"

    def current_stream(self, device):
        return Waiting(self)

    @contextlib.contextmanager
    def stream(self, other):
        self.now, before = other, self.now
        yield
        self.now = before

    def Event(self):
        return Event(self)


class Event:
    def __init__(self, owner):
        self.owner, self.done = owner, threading.Event()

    def record(self, stream):
        self.owner.log.append(("recorded on", stream))

    def synchronize(self):
        assert self.done.wait(300)


class Waiting:
    def __init__(self, owner):
        self.owner = owner

    def wait_event(self, event):
        self.owner.log.append(("waited on", self.owner.now))


class Tracked(Points):
    """Points whose copies and uses are written down."""

    def __init__(self, ids, streams, log):
        super().__init__(ids)
        self.streams, self.log, self.copied = streams, log, None

    def to(self, device):
        self.log.append(("copied on", self.streams.now))
        return self

    def tensors(self):
        return [self]

    def record_stream(self, stream):
        self.log.append(("kept for", self.streams.now))


def feed_of(count=5):
    streams = StandIn()
    batches = iter([Tracked(torch.tensor([k]), streams, streams.log) for k in range(count)])
    return Feed(batches, CPU, streams), streams


def numbers(arrived):
    return arrived.host.ids.tolist()


def test_the_next_batch_is_copied_beside_and_waited_for_where_it_is_used():
    feed, streams = feed_of()
    assert numbers(next(feed)) == [0]
    copy = [("copied on", "copying"), ("recorded on", "copying")]
    use = [("waited on", "main"), ("kept for", "main")]
    assert streams.log == copy + use
    feed.prepare()
    feed.prepare()  # one ahead, not two
    assert streams.log == copy + use + copy
    assert numbers(next(feed)) == [1]
    assert streams.log == (copy + use) * 2
    assert [numbers(next(feed)) for _ in range(3)] == [[2], [3], [4]]


def test_memory_on_its_way_is_marked_so():
    feed, _ = feed_of()
    arrived = next(feed)
    assert isinstance(arrived.host.copied, Event)


def test_what_goes_wrong_ahead_is_raised_when_the_batch_is_asked_for():
    feed, _ = feed_of(1)
    next(feed)
    feed.prepare()
    with pytest.raises(StopIteration):
        next(feed)


def test_nothing_is_taken_ahead_for_the_cpu():
    taken = []

    def batches():
        for k in range(3):
            taken.append(k)
            yield Points(torch.tensor([k]))

    feed = Feed(batches(), CPU)
    next(feed)
    feed.prepare()
    assert taken == [0]
    assert numbers(next(feed)) == [1]


def test_other_accelerators_are_refused(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("mps"))
    with pytest.raises(Exception, match=r"'mps'.*hide it"):
        device_of(0)


def test_read_gives_the_numbers():
    assert to_numbers(torch.tensor([1.5, float("inf")])) == [1.5, float("inf")]
