"""One process with a fake device for each file of tests, and what the tests enumerate."""

import pytest
from fake_process import FakeProcess


@pytest.fixture(scope="module")
def fake():
    """Calls functions where the fake device is."""
    process = FakeProcess()
    yield process
    process.close()
