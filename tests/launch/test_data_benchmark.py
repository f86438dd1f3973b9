"""The benchmark of the data path at its smallest: it can still convert and read what it times."""

import json
import runpy
import sys
from pathlib import Path

import pytest
from processes import finish

REPO = Path(__file__).resolve().parents[2]
SMALLEST = (
    "small.steps=3000 small.convert_steps=1000 small.growth_batches=20 small.batch=8 rounds=1 "
    "train_rounds=1 train_steps=1 peaks.convert_peak_rss_gib=[500,5,32,64] "
    "peaks.convert_peak_rss_gib_wide=[12,4,73,144] big.channels=1 big.steps=40 big.batches=2"
)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_figure_is_measured(tmp_path, monkeypatch):
    out, script = tmp_path / "figures.json", REPO / "benchmarks" / "data.py"
    finish([sys.executable, script, f"out={out}", *SMALLEST.split()], seconds=500)
    monkeypatch.syspath_prepend(str(script.parent))
    wanted = runpy.run_path(str(script))["COLUMNS"].keys()
    found = json.loads(out.read_text())
    assert wanted <= found.keys()
    assert all(found[name] > 0 for name in wanted - {"stream_rss_growth"})
