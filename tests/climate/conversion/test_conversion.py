"""A conversion that is stopped anywhere ends with the same bytes; damage is found and mended."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import builders
import numpy as np
import pytest
from builders import ABOUT, SPLITS, contents, hours, source, write_folder, write_variable
from builders import convert_files as run

from climate.conversion import append as appending
from climate.conversion import convert as converting
from climate.conversion import journal, plan, shards, verify
from climate.conversion.append import append
from climate.conversion.convert import convert
from climate.conversion.verify import find_damaged_shards, repair
from climate.store.layout import open_store
from vgbdm.errors import InputError
from vgbdm.storage import lock, sealing

LATER = SPLITS | {"test": ["2016-01-16", "2016-01-25"]}


class Killed(BaseException):
    """What SIGKILL is for the code under test: nothing below catches it."""


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    """Ten shards for the 480 hours of `builders`."""
    monkeypatch.setattr("climate.store.layout.SHARD_STEPS", 48)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("source") / "files")


@pytest.fixture(scope="module")
def longer(tmp_path_factory):
    """The same with five days more; 600 hours end inside a shard."""
    return write_folder(tmp_path_factory.mktemp("longer") / "files", days=25)


@pytest.fixture
def whole(files, tmp_path):
    run(files, tmp_path / "whole")
    return tmp_path / "whole"


def kill_at(monkeypatch, count):
    """Die at the ``count``-th time that something is made durable."""
    calls = iter(range(count))

    def dying(function):
        def call(*args, **kwargs):
            if next(calls, None) is None:
                raise Killed
            return function(*args, **kwargs)

        return call

    for module in (shards, journal, appending, converting, sealing):
        for name in ("sync", "write_json", "digest_file", "digest_shard"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, dying(getattr(module, name)))


def test_a_shard_is_written_synced_digested_and_recorded_in_this_order(
    files, tmp_path, monkeypatch
):
    calls = []

    def noted(name, real):
        def call(first, *rest):
            calls.append((name, Path(first).name))
            return real(first, *rest)

        return call

    for name in ("write_array", "sync", "digest_shard", "write_json"):
        monkeypatch.setattr(shards, name, noted(name, getattr(shards, name)))
    run(files, tmp_path / "store")
    per_shard = len(calls) // 10
    first = calls[:per_shard]
    assert [name for name, _ in first] == [
        "write_array", *["sync"] * (per_shard - 3), "digest_shard", "write_json",
    ]  # fmt: skip
    assert first[1:3] == [("sync", "0"), ("sync", "0")]
    assert ("sync", "c") in first
    assert [name for name, _ in calls] == [name for name, _ in first] * 10


@pytest.mark.parametrize("count", [0, 7, 40, 61, 68, 100, 101, 102, 110])
def test_stopped_anywhere_it_ends_with_the_same_bytes(files, whole, tmp_path, monkeypatch, count):
    path = tmp_path / "store"
    with monkeypatch.context() as patch:
        kill_at(patch, count)
        with pytest.raises(Killed):
            run(files, path)
    with pytest.raises(InputError, match="not finished"):
        open_store(path)
    run(files, path)
    assert contents(path) == contents(whole)
    assert not list(find_damaged_shards(path))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_stopped_while_it_clears_what_was_begun_it_starts_anew(
    files, whole, tmp_path, monkeypatch, count
):
    """Killed before there is a plan, and again when the next start removes what it finds."""
    path, real, calls = tmp_path / "store", shutil.rmtree, []
    with monkeypatch.context() as patch:
        patch.setattr(journal.Journal, "begin", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            run(files, path)

    def remove(entry):
        calls.append(entry)
        if len(calls) > count:
            raise Killed
        real(entry)

    with monkeypatch.context() as patch:
        patch.setattr(converting.shutil, "rmtree", remove)
        with pytest.raises(Killed):
            run(files, path)
    run(files, path)
    assert contents(path) == contents(whole)


def test_threads_give_the_same_bytes(files, whole, tmp_path):
    run(files, tmp_path / "store", scheduler="threads", workers=4)
    assert contents(tmp_path / "store") == contents(whole)


def test_recorded_shards_are_kept_unless_they_are_damaged(files, whole, tmp_path, monkeypatch):
    path = tmp_path / "store"
    with monkeypatch.context() as patch:
        patch.setattr(converting, "write_derived", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            run(files, path)
    shard = path / "state/c/4/0/0/0"
    shard.write_bytes(shard.read_bytes()[:-1])
    written = []
    real = shards.write_array
    monkeypatch.setattr(shards, "write_array", lambda *a: written.append(a[2]) or real(*a))
    run(files, path)
    assert written == [(4 * 48, 0)]
    assert contents(path) == contents(whole)


def test_another_conversion_does_not_continue_this_one(files, whole, tmp_path, monkeypatch):
    path = tmp_path / "store"
    with monkeypatch.context() as patch:
        patch.setattr(converting, "write_derived", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            run(files, path, nan_allowance=0.5)
    with pytest.raises(InputError, match=r"other nan_allowance was begun.*restart=true"):
        run(files, path)
    run(files, path, restart=True)
    assert contents(path) == contents(whole)


def test_a_store_that_cannot_fit_is_refused(files, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 10 * 2**20})
    monkeypatch.setattr(plan.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(InputError, match=r"needs up to .* for 480 steps, 10.0 MiB are free"):
        run(files, tmp_path / "store")


def test_a_live_owner_refuses_and_a_dead_one_is_taken_over(files, tmp_path):
    path = tmp_path / "store"
    with lock.locked(path):
        owner = (path / lock.LOCK).read_text()
        with pytest.raises(InputError, match=f"locked by process {os.getpid()} of .*wait for"):
            run(files, path)
        with pytest.raises(InputError, match="locked by process"):
            run(files, path, force_unlock=True)
    path.mkdir()
    (path / lock.LOCK).write_text(owner)
    run(files, path)
    assert not (path / lock.LOCK).exists()


def test_the_lock_of_another_machine_is_taken_by_force_or_after_silence(
    files, tmp_path, monkeypatch
):
    path, owner = tmp_path / "store", {"word": "x", "count": "1", "machine": "y", "process": "1"}
    path.mkdir()
    (path / lock.LOCK).write_text(json.dumps(owner))
    monkeypatch.setattr(lock, "SETTLE", 0.1)
    run(files, path, force_unlock=True)
    monkeypatch.setattr(lock, "SILENCE", 0.5)
    (path / lock.LOCK).write_text(json.dumps(owner))
    with pytest.raises(InputError, match="already finished"):
        run(files, path)
    begin = time.monotonic()
    with lock.locked(path):
        assert time.monotonic() - begin > 0.5


def test_what_another_finished_between_the_look_and_the_lock_is_refused(files, whole, monkeypatch):
    monkeypatch.setattr(converting, "_check_folder", lambda _: None)
    with pytest.raises(InputError, match="already finished"):
        run(files, whole)


def test_one_of_two_converters_works(files, whole, tmp_path):
    """They have one host name, as all on this machine."""
    path, barrier, said = tmp_path / "store", threading.Barrier(2), []
    data = source(files).open().load()  # NetCDF's library is not made for two threads

    def work():
        barrier.wait()
        try:
            convert(data, path, SPLITS, source=ABOUT, scheduler="synchronous")
            said.append("")
        except InputError as error:
            said.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(bool, said)) == [False, True]
    assert re.search("locked by process|already finished", max(said))
    assert contents(path) == contents(whole)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_damage_is_named_and_mended(files, whole):
    before = contents(whole)
    flip(whole / "state/c/3/0/0/0")
    (whole / "state/c/5/0/0/0").unlink()
    os.truncate(whole / "state/c/7/0/0/0", 1000)
    flip(whole / "climatology/c/0/0/0/0")
    flip(whole / "mean_map/zarr.json")
    flip(whole / "lat/c/0")
    lines = verify.verify_store(whole)
    assert len(lines) == 6
    assert (
        "state/c/3/0/0/0: flipped bits (digest differs); holds 2016-01-07 … "
        "2016-01-08 23:00" in lines
    )
    assert any("c/5" in line and "missing" in line for line in lines)
    assert any("c/7" in line and "1000 bytes" in line for line in lines)
    assert len(repair(whole, source(files).open(), ABOUT)) == 6
    assert contents(whole) == before
    assert verify.verify_store(whole) == []
    assert repair(whole, source(files).open(), ABOUT) == []


def test_channels_of_a_time_may_take_several_shards(tmp_path, monkeypatch):
    """As those of 40 maps of 0.25° do."""
    times = hours("2016-01-01", 80, 6)
    root = write_folder(tmp_path / "files", step=6)
    values = builders.waves(times, 3)
    values[5, 0, 0] = np.nan
    write_variable(root, "v10", times, values=values)
    monkeypatch.setattr("climate.store.layout.SMALL_FIELD_BYTES", 1)
    monkeypatch.setattr("climate.store.layout.SHARD_STEPS", 1)
    run(root, tmp_path / "one", nan_allowance=0.5)
    monkeypatch.setattr("climate.store.layout.SHARD_BYTES", 2 * 4 * 8 * 16)
    run(root, tmp_path / "two", nan_allowance=0.5)
    one, two = open_store(tmp_path / "one"), open_store(tmp_path / "two")
    assert (one.state.shards[:2], two.state.shards[:2]) == ((1, 3), (1, 2))
    assert np.array_equal(one.read(0, 80), two.read(0, 80))
    assert np.allclose(one.statistics.mean, two.statistics.mean, rtol=1e-14)
    assert np.allclose(one.statistics.tendency_std, two.statistics.tendency_std, rtol=1e-12)
    assert (tmp_path / "two/filled/c/5/1/0/0").exists()
    before = contents(tmp_path / "two")
    flip(tmp_path / "two/state/c/7/1/0/0")
    (tmp_path / "two/filled/c/5/1/0/0").unlink()
    (line, other) = verify.verify_store(tmp_path / "two")
    assert "holds 2016-01-02 06:00" in line and "holds 2016-01-02 18:00" in other
    repair(tmp_path / "two", source(root).open(), ABOUT)
    assert contents(tmp_path / "two") == before


def test_every_file_is_covered(whole):
    covered = set(json.loads((whole / "manifest.json").read_text())["files"])
    assert set(contents(whole)) - covered == {"manifest.json"}


def test_a_changed_source_mends_nothing(whole, tmp_path):
    root = write_folder(tmp_path / "changed")
    values = builders.waves(hours("2016-01-01", 480), 0)
    write_variable(root, "z", hours("2016-01-01", 480), values=values + 1)
    flip(whole / "state/c/3/0/0/0")
    with pytest.raises(InputError, match="gives another state/c/3"):
        repair(whole, source(root).open(), ABOUT)
    assert [damage.shard for damage in find_damaged_shards(whole)] == [(3, 0)]


def test_appended_times_follow_and_change_no_statistic(longer, whole):
    before = open_store(whole)
    append(source(longer).open(), whole, LATER, source=ABOUT)
    after = open_store(whole)
    assert len(after.times) == 600
    want = np.stack([builders.waves(hours("2016-01-01", 600), k) for k in (0, 2, 3)], 1)
    assert np.array_equal(after.read(0, 600), want)
    assert after.statistics.hash == before.statistics.hash
    step = np.timedelta64(6, "h").astype("m8[s]")
    assert np.array_equal(after.anchors("train", step), before.anchors("train", step))
    assert verify.verify_store(whole) == []
    assert set(contents(whole)) - set(json.loads((whole / "manifest.json").read_text())["files"]) \
        == {"manifest.json"}  # fmt: skip
    with pytest.raises(InputError, match="no time after"):
        append(source(longer).open(), whole, LATER, source=ABOUT)


def test_an_append_may_rewrite_a_shard_that_training_reaches_into(
    files, longer, tmp_path, monkeypatch
):
    monkeypatch.setattr("climate.store.layout.SHARD_STEPS", 264)
    run(files, tmp_path / "store")
    before = open_store(tmp_path / "store").statistics.hash
    append(source(longer).open(), tmp_path / "store", LATER, source=ABOUT)
    assert verify.verify_store(tmp_path / "store") == []
    assert open_store(tmp_path / "store").statistics.hash == before


@pytest.mark.parametrize("count", [3, 30, 40, 45, 50, 53, 56, 60])
def test_a_stopped_append_leaves_the_old_period_whole(files, longer, tmp_path, monkeypatch, count):
    monkeypatch.setattr("climate.store.layout.SHARD_STEPS", 168)  # the last shard is half full
    for name in ("one", "two"):
        run(files, tmp_path / name)
    held = open_store(tmp_path / "two").read(0, 480)
    append(source(longer).open(), tmp_path / "one", LATER, source=ABOUT)
    old = open_store(tmp_path / "two")
    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        kill_at(patch, count)
        append(source(longer).open(), tmp_path / "two", LATER, source=ABOUT)
    assert verify.verify_store(tmp_path / "two") == []
    assert np.array_equal(open_store(tmp_path / "two").read(0, 480), held)
    assert np.array_equal(old.read(0, 480), held)
    if len(open_store(tmp_path / "two").times) == 480:
        append(source(longer).open(), tmp_path / "two", LATER, source=ABOUT)
        assert contents(tmp_path / "two") == contents(tmp_path / "one")
    assert verify.verify_store(tmp_path / "two") == []


def test_another_training_period_cannot_be_appended(longer, whole):
    splits = LATER | {"train": ["2016-01-01T00", "2016-01-11T23"]}
    with pytest.raises(InputError, match=r"other split.train"):
        append(source(longer).open(), whole, splits, source=ABOUT)


def test_the_other_statistics_are_those_of_numpy(files, whole):
    from climate.grids.grid import Grid

    store = open_store(whole)
    training = store.read(0, 288).astype(np.float64)
    weights = Grid(store.lat, store.lon).area_weights[:, None]
    change = np.diff(training, axis=0)
    mean = (change * weights).mean((0, 2, 3))
    std = np.sqrt((((change - mean[:, None, None]) ** 2) * weights).mean((0, 2, 3)))
    assert np.allclose(store.statistics.tendency_std, std, rtol=1e-12)
    assert np.array_equal(store.statistics.min, training.min((0, 2, 3)))
    assert np.array_equal(store.statistics.max, training.max((0, 2, 3)))


def test_conversion_does_without_torch():
    """It would take half a GiB in every worker."""
    code = "import sys, climate.sources.opening, climate.conversion.append\n"
    code += "import climate.conversion.verify; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_file_that_another_process_takes_away_meanwhile_does_not_stop_a_conversion(
    files, whole, tmp_path, monkeypatch
):
    """Such as its probe of whether the folder can be written."""
    path, real = tmp_path / "store", Path.iterdir

    def iterdir(folder):
        entries = list(real(folder))
        return iter([*entries, folder / ".probe.0123456789abc.tmp"] if folder == path else entries)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    convert(source(files).open().load(), path, SPLITS, source=ABOUT, scheduler="synchronous")
    monkeypatch.undo()
    assert contents(path) == contents(whole)
