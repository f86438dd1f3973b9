import platform
import subprocess
import sys

import pytest

from vgbdm.training.backends import allocator

PAGES = 16384
"""Of 64 MiB, which malloc by itself gives back whenever they are freed."""
PROGRAM = f"""
import ctypes, resource, runpy
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # no huge pages, of which there may be some or none
allocator = runpy.run_path({allocator.__file__!r})
if KEEP:
    allocator["keep_freed_memory"]()
counts = []
for _ in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"1" * (4096 * {PAGES})
    counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(max(counts[-2:]))
"""
"""Prints how many pages a block of `PAGES` costs that was freed before."""


def pages_of_freed_memory(keep: bool) -> int:
    """In a process of its own: threads of other tests take pages too, full heaps are given back."""
    program = PROGRAM.replace("KEEP", str(keep))
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env={})
    assert out.returncode == 0, out.stderr
    return int(out.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_taken_again_without_the_system():
    assert pages_of_freed_memory(keep=True) < PAGES // 8
    assert pages_of_freed_memory(keep=False) > PAGES // 2


@pytest.mark.parametrize("name", allocator.VARIABLES)
def test_what_the_user_has_set_stays(monkeypatch, name):
    monkeypatch.setenv(name, "65536")
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _: pytest.fail("asked for malloc"))
    allocator.keep_freed_memory()
