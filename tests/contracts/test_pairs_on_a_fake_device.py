"""No pair of field and objective lets anything pass between host and device within a step."""

import fake_pairs
import pytest
from engine_pairs import PAIRS
from fake_process import FakeProcess


@pytest.fixture(scope="module")
def fake():
    process = FakeProcess()
    yield process
    process.close()


@pytest.mark.parametrize(("name", "objective"), PAIRS)
def test_a_step_stays_on_the_device(fake, name, objective):
    terms, reached = fake(fake_pairs.learn, name, objective)
    assert "loss" in terms and reached
