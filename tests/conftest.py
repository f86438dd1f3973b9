"""Fixtures shared by all tests."""

import os
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent / "support"))
REPO = Path(__file__).resolve().parent.parent
sys.path.append(str(REPO / "launch"))
CASES = REPO.parent / "shared" / "cases"
WINDS = REPO.parent / "shared" / "data" / "gfs_winds_5.625deg"

LONGEST = (
    "test_soak", "test_dead_ranks", "test_parity", "test_faults", "test_slurm", "test_scaling",
    "test_compile",
)  # fmt: skip
"""Files of slow tests that take minutes, the longest first."""

THREADS = int(os.environ.get("OMP_NUM_THREADS", "1"))
torch.set_num_threads(THREADS)


def _begin_alike():
    """What draws without a seed draws the same, whichever tests this process has run before."""
    random.seed(0)
    np.random.seed(0)
    torch.default_generator.manual_seed(0)
    if torch.get_num_threads() != THREADS:
        torch.set_num_threads(THREADS)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup():
    _begin_alike()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call():
    _begin_alike()


class _FailuresAtOnce:
    """Names a failure when it happens: a run that is cut off has no summary."""

    def __init__(self, config):
        self.plugins = config.pluginmanager

    def pytest_runtest_logreport(self, report):
        terminal = self.plugins.get_plugin("terminalreporter")  # none in a worker
        if report.failed and terminal is not None:
            terminal.write_line(f"\nFAILED {report.nodeid} ({report.duration:.0f} s)")


def pytest_configure(config):
    config.pluginmanager.register(_FailuresAtOnce(config))


def pytest_collection_modifyitems(items):
    """The longest files first, for a worker takes a file whole and none should end alone."""

    def place(item):
        early = not {"launch", "fake_device"}.isdisjoint(item.path.parts)
        return LONGEST.index(item.path.stem) if item.path.stem in LONGEST else 99 - early

    items.sort(key=place)


@pytest.fixture(autouse=True)
def _no_secrets(monkeypatch):
    """What the config of one test holds is masked in the lines of no other."""
    monkeypatch.setattr("vgbdm.storage.masking._known", set())


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """A finished store of 20 hourly days; only to be read."""
    from builders import make_store

    return make_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def fine_store(tmp_path_factory):
    """A finished store of 20 six-hourly days, fine enough for regions; only to be read."""
    from builders import make_fine_store

    return make_fine_store(tmp_path_factory.mktemp("fine"))


@pytest.fixture(scope="session")
def years(tmp_path_factory):
    """A finished store of four six-hourly years; only its monthly means may be added."""
    from builders import make_years

    return make_years(tmp_path_factory.mktemp("years"))


@pytest.fixture(scope="session")
def winds():
    """The folder of real winds, where it is."""
    if not WINDS.is_dir():
        pytest.skip(f"real winds are not at {WINDS}")
    return WINDS


@pytest.fixture
def case(tmp_path):
    """Makes a case of the folder of reported situations, where it is, and gives its folder."""
    if not CASES.is_dir():
        pytest.skip(f"the reported situations are not at {CASES}")
    import runpy

    made = runpy.run_path(str(CASES / "make_cases.py"))

    def make(name):
        made["CASES"][name](tmp_path / name)
        return tmp_path / name

    make.celsius_forecast = made["celsius_forecast"]
    return make
