"""What kills a conversion from outside: full disks, SIGKILL of the process or of a worker."""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
from builders import contents, write_folder
from builders import convert_files as run

from climate.conversion import shards
from climate.conversion.verify import find_damaged_shards
from climate.store.layout import open_store
from vgbdm.errors import InputError

REPO = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    """Ten shards for the 480 hours of `builders`."""
    monkeypatch.setattr("climate.store.layout.SHARD_STEPS", 48)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("source") / "files")


@pytest.fixture
def whole(files, tmp_path):
    run(files, tmp_path / "whole")
    return tmp_path / "whole"


def test_a_full_disk_leaves_what_the_same_command_finishes(files, whole, tmp_path):
    """The limit of a file's size stands for the disk: writing fails in the middle of a shard."""
    path, script = tmp_path / "store", tmp_path / "run.py"
    script.write_text(SCRIPT.format(support=str(REPO / "tests/support"), pause=0))
    small = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    small += "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, resource.RLIM_INFINITY)); "
    small += f"import sys, runpy; sys.argv = {[str(script), str(files), str(path)]!r}; "
    small += "runpy.run_path(sys.argv[0])"
    done = subprocess.run([sys.executable, "-c", small], env=environment(), capture_output=True)
    assert b"File too large" in done.stderr
    with pytest.raises(InputError, match="not finished"):
        open_store(path)
    run(files, path)
    assert contents(path) == contents(whole)


@contextlib.contextmanager
def small_disk(path, size):
    """A file system of its own."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no mount here: {error}")
    if done.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)  # maps may be left


def test_a_disk_that_fills_up_leaves_what_the_same_command_finishes(
    files, whole, tmp_path, monkeypatch
):
    with small_disk(tmp_path / "disk", "80m") as disk:
        ballast, real, calls = disk / "ballast", shards.write_array, itertools.count(1)

        def write_on_a_full_disk(*args):
            if next(calls) == 4:
                with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
                    while file.write(bytes(4096)):
                        pass
            return real(*args)

        with monkeypatch.context() as patch:
            patch.setattr(shards, "write_array", write_on_a_full_disk)
            with pytest.raises(OSError, match="No space left"):
                run(files, disk / "store")
        with pytest.raises(InputError, match="not finished"):
            open_store(disk / "store")
        ballast.unlink()
        run(files, disk / "store")
        assert contents(disk / "store") == contents(whole)


SCRIPT = """
import sys, time
sys.path.insert(0, {support!r})
from builders import SPLITS, source
import climate.store.layout
from climate.conversion import shards
from climate.conversion.convert import convert
climate.store.layout.SHARD_STEPS = 48
real = shards.write_array
def slow(*args):
    time.sleep({pause})
    return real(*args)
shards.write_array = slow
print("ready", flush=True)
convert(source(sys.argv[1]).open(), sys.argv[2], SPLITS, source={{"source": "waves"}})
print("done", flush=True)
"""


def environment():
    paths = [str(REPO), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_killed_ten_times_it_ends_with_the_same_bytes(files, whole, tmp_path):
    path, script = tmp_path / "store", tmp_path / "run.py"
    script.write_text(SCRIPT.format(support=str(REPO / "tests/support"), pause=0.15))
    moments = np.random.default_rng(0).uniform(0.0, 1.0, 10)
    for moment in moments:
        child = subprocess.Popen(
            [sys.executable, str(script), str(files), str(path)],
            env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert child.stdout.readline() == b"ready\n"
        time.sleep(moment)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    if not (path / "manifest.json").exists():
        run(files, path)
    assert contents(path) == contents(whole)
    assert not list(find_damaged_shards(path))


@pytest.mark.slow
def test_a_cluster_gives_the_same_bytes(files, whole, tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        run(files, tmp_path / "store", scheduler=cluster.scheduler_address)
    assert contents(tmp_path / "store") == contents(whole)
    with pytest.raises(InputError, match="want threads, synchronous or tcp"):
        run(files, tmp_path / "other", scheduler="process")


def stall_the_first_shard(marker):
    """On a worker: stand still with a shard half written, and say which process does."""
    from pathlib import Path

    from climate.conversion import shards

    real = shards.write_array

    def write(root, name, place, values):
        if place[0] == 96 and not Path(marker).exists():
            real(root, name, place, values[:24])
            Path(marker).write_text(str(os.getpid()))
            time.sleep(60)
        return real(root, name, place, values)

    shards.write_array = write


@pytest.mark.slow
@pytest.mark.parametrize("lives", [3, 0], ids=["done again", "given up"])
def test_a_killed_worker_costs_nothing(files, whole, tmp_path, lives):
    """Its shard is done again by another; where the cluster gives up, by the same command."""
    import dask
    import distributed

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    marker, path = tmp_path / "half", tmp_path / "store"
    settings = {"distributed.scheduler.allowed-failures": lives}
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
    ):
        with distributed.Client(cluster, set_as_default=False) as client:
            client.run(stall_the_first_shard, str(marker))

        def kill():
            while not marker.exists() or not marker.read_text():
                time.sleep(0.01)
            os.kill(int(marker.read_text()), signal.SIGKILL)

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        if lives:
            run(files, path, scheduler=cluster.scheduler_address)
        else:
            with pytest.raises(InputError, match="a worker died"):
                run(files, path, scheduler=cluster.scheduler_address)
            with pytest.raises(InputError, match="not finished"):
                open_store(path)
            run(files, path, scheduler=cluster.scheduler_address)
        killer.join()
    assert contents(path) == contents(whole)
    assert not list(find_damaged_shards(path))
