import resource

import pytest
import torch

from vgbdm.training.backends import allocator

PAGES = 4096
"""Of 16 MiB, which malloc by itself gives back when they are freed."""


def faults() -> int:
    """Pages that this process was given, so far, the first time it touched them."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def test_freed_memory_is_taken_again_without_the_system():
    allocator.keep_freed_memory()
    counts = []
    for _ in range(4):
        before = faults()
        torch.ones(1024 * PAGES)
        counts.append(faults() - before)
    assert max(counts[-2:]) < PAGES // 8


@pytest.mark.parametrize("name", allocator.VARIABLES)
def test_what_the_user_has_set_stays(monkeypatch, name):
    monkeypatch.setenv(name, "65536")
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _: pytest.fail("asked for malloc"))
    allocator.keep_freed_memory()
