"""Many runs of one command: checked first, each by itself, and a table in the end."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import multirun
import pytest
from entry import compose_config, folder_made
from omegaconf import OmegaConf
from processes import OURS, environments, finish
from refusals import refused

LAUNCH = Path(__file__).resolve().parents[2] / "launch"
TWO = ["system=lorenz", "n=2", "seed=1,2"]


def plan(*overrides, config="simulate_system"):
    def compose(told):
        return compose_config(config, told)

    return multirun.plan(overrides, compose, folder_made)


def test_every_combination_is_planned_with_its_folder():
    runs = plan(*TWO, "split=train,val", "out=D/${split}-${seed}")
    assert [str(run.folder) for run in runs[:3]] == ["D/train-1", "D/val-1", "D/train-2"]
    assert runs[1].varied == "seed=1 split=val" and len(runs) == 4
    assert runs[1].overrides[:2] == ["system=lorenz", "n=2"]


def test_choices_of_a_group_can_be_a_pattern():
    combinations = multirun.sweep(["system=glob(r*)", "n=2", "seed=range(0,2)"])
    assert [" ".join(varied) for _, varied in combinations] == [
        "system=reaction_diffusion seed=0", "system=reaction_diffusion seed=1",
        "system=rlc seed=0", "system=rlc seed=1",
    ]  # fmt: skip


def test_one_wrong_run_is_named_and_none_begins():
    refused(
        lambda: plan("system=lorenz,lorentz", "n=2", "out=D-${seed}"),
        "run 2 of 2 (system=lorentz): argument system=lorentz: no such choice; did you mean",
        "no run was started",
    )
    refused(lambda: plan(*TWO, "out=a(b"), "quote the value: 'out=\"a(b\"'")
    refused(lambda: plan(*TWO, "days"), "want key=value")


def test_arguments_that_do_nothing_are_refused_before_runs_are_counted():
    line = "argument seed=3: seed is given twice, before as seed=1,2; give it once"
    assert refused(lambda: plan(*TWO, "out=D-${seed}", "seed=3")) == line
    line = refused(lambda: plan(*TWO, "out=D-${seed}", "hydra.sweep.dir=x"), "does nothing here")
    assert line.startswith("argument hydra.sweep.dir=x: ")


def test_two_runs_into_one_folder_are_refused():
    refused(
        lambda: plan(*TWO, "out=D"),
        "D: is the folder of two runs (seed=1 and seed=2)", "such as 'D-${seed}'",
    )  # fmt: skip
    line = refused(lambda: plan("system=rlc,lorenz", "n=2", "out=D"), "system=rlc and system=lor")
    assert line.endswith("give each its own")


def started(tmp_path, *deeds):
    """The results of runs that do so, as their first process has them, and its exit code.

    It is a process of its own: signals to it may not end this one.
    """
    runs = [multirun.Run([], f"seed={i}", OmegaConf.create()) for i in range(len(deeds))]
    first = os.fork()
    if not first:
        code = 99
        for ignored in (signal.SIGHUP, signal.SIGINT):  # where tests run in the background
            signal.signal(ignored, signal.SIG_DFL)
        try:
            run = multirun.start_each(runs)
            if run is None:
                told = [run.result for run in runs], multirun.exit_code(runs, 75)
                (tmp_path / "told").write_text(json.dumps(told))
                code = 0
            else:
                code = deeds[runs.index(run)]()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]) == 0
    return tuple(json.loads((tmp_path / "told").read_text()))


def test_what_fails_or_is_killed_ends_no_other(tmp_path, capfd):
    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    results, code = started(tmp_path, lambda: 2, die, lambda: 0)
    assert results == ["failed (exit 2)", "killed (SIGKILL)", "done"] and code == 1
    assert "run 3 of 3: seed=2" in capfd.readouterr().err
    assert started(tmp_path, lambda: 0, lambda: 0) == (["done", "done"], 0)


def test_a_run_that_is_asked_to_stop_alone_stops_alone(tmp_path):
    assert started(tmp_path, lambda: 75, lambda: 0) == (["stopped", "done"], 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_first_process_stops_all_of_it(tmp_path, number):
    def wait():
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getppid(), number)
        signal.pause()

    results, code = started(tmp_path, lambda: 0, wait, lambda: 0)
    assert results == ["done", f"killed ({number.name})", "not started"]
    assert code == 75


def test_a_run_that_saves_at_a_signal_gives_the_code_of_the_whole(tmp_path):
    def save():
        signal.signal(signal.SIGTERM, lambda *_: os._exit(75))
        os.kill(os.getppid(), signal.SIGTERM)
        while True:  # a signal may come just before a `pause`, which would not end
            time.sleep(0.05)

    assert started(tmp_path, save, lambda: 0) == (["stopped", "not started"], 75)


def test_a_signal_that_a_run_no_longer_hears_still_begins_no_other(tmp_path):
    def last():
        os.kill(os.getppid(), signal.SIGTERM)
        return 0

    results, code = started(tmp_path, last, lambda: 0)
    assert results[1] == "not started" and code in (75, 143)


def test_the_table_lines_up():
    runs = [
        multirun.Run([], "seed=1 size=tiny", OmegaConf.create(), Path("R/1"), 0, 12.34),
        multirun.Run([], "seed=2", OmegaConf.create(), None, None),
    ]
    assert multirun.table(runs).splitlines() == [
        "run  arguments         result       minutes  folder",
        "1    seed=1 size=tiny  done         12.3     R/1",
        "2    seed=2            not started",
    ]


def test_a_launcher_goes_on_past_a_failure_and_ends_with_a_table(tmp_path):
    (tmp_path / "D-1").mkdir()
    told = [*TWO, "--multirun", f"out={tmp_path}/D-${{seed}}"]
    result = finish([sys.executable, LAUNCH / "simulate_system.py", *told], 1)
    assert (tmp_path / "D-2" / "manifest.json").exists()
    rows = [line.split() for line in result.stdout.splitlines()]
    place = rows.index(["run", "arguments", "result", "minutes", "folder"])
    assert rows[place + 1][:5] == ["1", "seed=1", "failed", "(exit", "2)"]
    assert rows[place + 2][:3] == ["2", "seed=2", "done"]
    assert result.stderr.splitlines()[-1] == (
        "error: 1 of 2 runs failed; what each said stands above"
    )


def test_ranks_do_not_share_many_runs(tmp_path):
    told = [*TWO, "--multirun", f"out={tmp_path}/D-${{seed}}"]
    env = {name: value for name, value in environments(2)[0].items() if name in OURS}
    result = finish([sys.executable, LAUNCH / "simulate_system.py", *told], 2, **env)
    assert "--multirun with 2 ranks (variables): start each run by itself" in result.stderr
    assert not list(tmp_path.iterdir())
