"""The batch script under SLURM itself: a job told to stop saves, queues again and goes on."""

import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import runs_era5
from slurm import Cluster

from vgbdm.storage.files import read_json

pytestmark = pytest.mark.slow

REPO = Path(__file__).resolve().parents[2]
STEPS = 80
OPTIONS = [
    "size=tiny", f"trainer.total_steps={STEPS}", "trainer.validations=1", "validation.starts=2",
    "validation.lead=6h", "backend=ddp", "stream.threads=1",
]  # fmt: skip
MARKED = {"nodes": "1", "ntasks-per-node": "2", "cpus-per-task": "1"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("slurm")) as found:
        yield found


@pytest.fixture
def project(tmp_path):
    """A project with the script, its marked lines set for one machine without accelerators."""
    text = (REPO / "launch" / "slurm.sh").read_text()
    for name, value in MARKED.items():
        text, count = re.subn(rf"(#SBATCH --{name}=)\d+ +# «.*", rf"\g<1>{value}", text)
        assert count == 1, name
    text, count = re.subn(r"#SBATCH --gpus-per-node=.* # «none on CPU nodes»\n", "", text)
    assert count == 1
    place = tmp_path / "project"
    place.mkdir()
    (place / "slurm.sh").write_text(text)
    (place / ".venv").symlink_to(sys.prefix)
    (place / "launch").symlink_to(REPO / "launch")
    return place


def steps(run_dir):
    """Steps done so far."""
    try:
        return len(pd.read_csv(run_dir / "log.csv"))
    except (OSError, pd.errors.EmptyDataError):
        return 0


@pytest.mark.timeout(600)
def test_a_job_told_to_stop_queues_again_and_ends_as_one_that_was_not(
    cluster, project, store, tmp_path
):
    run_dir, out = tmp_path / "run", tmp_path / "job.out"
    job = cluster.run(
        "sbatch", "--parsable", "--overcommit", f"--output={out}", "slurm.sh", *OPTIONS,
        place=project, STORE=str(store.path), RUN=str(run_dir), PYTHONPATH=str(REPO),
    ).strip()  # fmt: skip
    cluster.wait_until(lambda: steps(run_dir) >= 3)
    cluster.run("scancel", "--signal=TERM", job)
    cluster.wait_until(lambda: "stopped at step" in out.read_text())
    line = re.search(r"stopped at step (\d+) \(SIG(\w+)\); (\S+) is saved", out.read_text())
    assert line is not None and line[2] == "TERM" and 3 <= int(line[1]) < STEPS
    cluster.wait_until(lambda: cluster.state(job) in ("COMPLETED", "FAILED", "CANCELLED"))
    said = out.read_text()
    assert cluster.state(job) == "COMPLETED", said
    assert "srun: 2 rank(s) on 1 node(s)" in said and "srun, start 2: 2 rank(s)" in said
    assert f"at step {line[1]} of {STEPS}" in said
    assert read_json(run_dir / "status.json")["state"] == "finished"
    runs_era5.train(store, tmp_path / "undisturbed", *OPTIONS, ranks=2)
    ours, theirs = (runs_era5.losses(place) for place in (run_dir, tmp_path / "undisturbed"))
    assert len(ours) == STEPS and np.array_equal(ours, theirs)
    ours, theirs = (runs_era5.tensors(p, STEPS) for p in (run_dir, tmp_path / "undisturbed"))
    assert all(np.array_equal(ours[key], theirs[key]) for key in theirs)
