"""100 M parameters: what sharding saves, and going on in another layout."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from processes import finish

REPO = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_hundred_million_parameters(tmp_path):
    out = tmp_path / "large.json"
    command = [sys.executable, str(REPO / "benchmarks" / "scaling.py"), f"out={out}", "only=large"]
    finish(command, seconds=900, PYTHONPATH=str(REPO))
    found = json.loads(out.read_text())["large"]
    assert 9e7 < found["parameters"] < 1.1e8
    assert found["zero3_over_zero0"] <= 0.6
    assert abs(found["state_bytes_error"]) <= 0.2
    assert all(total <= 16 * 2**30 for total in found["total_peak_bytes"].values())
    # steps 1 to 3 at stage 3, saved; the first one after it at stage 1
    assert np.isclose(found["losses_resumed"][0], found["losses_undisturbed"][3], rtol=1e-4)
