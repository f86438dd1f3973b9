"""Every launcher: help, and one line for each error."""

import subprocess
import sys
from pathlib import Path

import pytest
from catalog import launchers
from processes import finish

REPO = Path(__file__).resolve().parents[2]

LAUNCHERS = sorted(launchers())


def run(name: str, *arguments: str, rank: str | None = None) -> subprocess.CompletedProcess[str]:
    env: dict[str, str] = {}
    if rank is not None:
        env = {"LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
        env |= {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2"}
    command = [sys.executable, REPO / "launch" / f"{name}.py", *arguments]
    return finish(command, None, **env)


def refusal(result: subprocess.CompletedProcess[str], code: int = 2) -> str:
    """The one line of an error."""
    assert result.returncode == code, result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert "Traceback" not in result.stderr
    return lines[0]


@pytest.mark.parametrize("name", LAUNCHERS)
def test_help_names_the_arguments_and_loads_nothing_heavy(name):
    result = run(name, "--help", "--local_rank=0")
    assert result.returncode == 0
    assert f"launch/{name}.py" in result.stdout
    if name == "check":  # a store and a run, or a grid to plan for
        assert all(f"  {key}=null" in result.stdout for key in ("store", "run_dir", "check.grid"))
    else:
        assert "must be given:" in result.stdout


@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_missing_argument_is_named(name):
    assert "is missing" in refusal(run(name, "--local_rank=1"))


def test_unknown_keys_and_choices_are_refused():
    assert "nonsense" in refusal(run("make_sample", "nonsense=1"))
    assert "key=value" in refusal(run("make_sample", "days"))
    line = refusal(run("train_era5", "store=x", "run_dir=y", "model=oracle"))
    assert "oracle" in line


def test_bad_input_is_one_line_and_other_ranks_are_silent(tmp_path):
    arguments = [f"store={tmp_path}/none", f"run_dir={tmp_path}/run"]
    line = refusal(run("train_era5", *arguments))
    assert "no such folder" in line
    other = run("train_era5", *arguments, rank="1")
    assert other.returncode == 2
    assert "error" not in other.stderr


def test_a_rank_that_cannot_be_speaks_for_itself():
    line = refusal(run("train_era5", "store=x", "run_dir=y", rank="2"))
    assert "rank 2 of 2" in line


def test_no_outputs_folder_is_left(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    run("make_sample", f"out={tmp_path}/out", "days=0")
    assert not list(Path.cwd().iterdir())


def test_no_line_holds_a_password(tmp_path):
    line = refusal(
        run("train_era5", "store=/none/s3://me:secret@host/x", f"run_dir={tmp_path}/run")
    )
    assert "secret" not in line and "s3:/***@host" in line
