"""A store copied from elsewhere reads like the store, whatever stopped the copying."""

import json
import os
import sys
import time

import fsspec
import numpy as np
import pytest
from builders import SPLITS, source, write_folder
from refusals import refused
from web import serving

from climate.conversion.convert import convert
from climate.store.layout import open_store
from climate.store.staging import stage
from vgbdm.errors import InputError
from vgbdm.storage import network
from vgbdm.storage.files import aside_of


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """A store of ten shards."""
    base = tmp_path_factory.mktemp("origin")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("climate.store.layout.SHARD_STEPS", 48)
        convert(source(write_folder(base / "files")).open(), base / "store", SPLITS, source={})
    return base / "store"


@pytest.fixture
def remote(origin):
    """The same store in fsspec's memory."""
    memory = fsspec.filesystem("memory")
    memory.put(str(origin), "/remote", recursive=True)
    yield "memory://remote"
    memory.rm("/remote", recursive=True)


def test_a_staged_store_is_the_store(origin, remote, tmp_path):
    staged, whole = open_store(stage(remote, tmp_path / "s")), open_store(origin)
    assert np.array_equal(staged.read(0, 480), whole.read(0, 480))
    assert staged.statistics.hash == whole.statistics.hash
    assert not list(tmp_path.rglob("*.part"))


def test_half_written_files_of_the_dead_are_removed_and_of_the_living_kept(origin, tmp_path):
    dead, alive = (aside_of(tmp_path / "s" / "lat" / "c" / "0", token) for token in (1, 2))
    dead.parent.mkdir(parents=True)
    for path in (dead, alive):
        path.write_bytes(b"half")
    os.utime(dead, (0, time.time() - 2 * 3600))
    stage(str(origin), tmp_path / "s")
    assert alive.exists() and not dead.exists()
    assert open_store(tmp_path / "s").read(0, 1).shape[0] == 1


def test_only_the_shards_of_the_wanted_splits_are_copied(origin, tmp_path):
    staged = open_store(stage(str(origin), tmp_path / "s", ["test"]))
    assert np.array_equal(staged.read(336, 480), open_store(origin).read(336, 480))
    with pytest.raises(InputError, match="cannot be read"):
        staged.read(0, 48)


def test_stopped_staging_goes_on_and_mends_what_is_broken(origin, remote, tmp_path):
    memory = fsspec.filesystem("memory")
    good = memory.cat_file("/remote/state/c/7/0/0/0")
    memory.pipe_file("/remote/state/c/7/0/0/0", good[:-9] + b"x" + good[-8:])
    with pytest.raises(InputError, match="not what the manifest says"):
        stage(remote, tmp_path / "s")
    with pytest.raises(InputError, match="not finished"):
        open_store(tmp_path / "s")
    memory.pipe_file("/remote/state/c/7/0/0/0", good)
    kept, cut = (tmp_path / f"s/state/c/{k}/0/0/0" for k in (0, 1))
    stage(remote, tmp_path / "s")
    before = kept.stat().st_mtime_ns
    cut.write_bytes(cut.read_bytes()[:-1])
    stage(remote, tmp_path / "s")
    assert kept.stat().st_mtime_ns == before
    assert np.array_equal(open_store(tmp_path / "s").read(0, 480), open_store(origin).read(0, 480))


def test_a_url_that_nothing_here_can_read_is_one_line_with_a_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    for url in ("gs://bucket/store", "stroe://x"):
        refused(lambda url=url: stage(url, tmp_path / "s"), url, "vgbdm[cloud]")


@pytest.fixture
def web(origin, monkeypatch):
    """The same store behind a server."""
    monkeypatch.setattr(network, "FIRST_WAIT", 0.001)
    with serving(origin.parent) as found:
        yield found


@pytest.mark.parametrize("kind", ["500", "silence", "short", "cut", "closed"])
def test_faults_of_a_server_that_pass_change_nothing(origin, web, tmp_path, kind, monkeypatch):
    if kind == "silence":
        monkeypatch.setattr(network, "SILENCE", 0.3)
    web.share, web.seed, web.kinds = 0.1, 5, (kind,)
    staged = open_store(stage(f"{web.url}/store", tmp_path / "s"))
    assert web.failed[kind] > 1
    assert np.array_equal(staged.read(0, 480), open_store(origin).read(0, 480))


def test_what_a_server_gave_before_it_went_is_not_asked_for_again(
    origin, web, tmp_path, monkeypatch
):
    url = f"{web.url}/store"
    web.left = 40
    monkeypatch.setattr(network, "KNOWN", 0.01)
    refused(lambda: stage(url, tmp_path / "s"), web.url, "does not answer", "same command again")
    web.stop()
    monkeypatch.setattr(network, "UNKNOWN", 0.01)
    refused(lambda: stage(url, tmp_path / "s"), url, "does not answer")
    held = {p.relative_to(tmp_path / "s") for p in (tmp_path / "s").rglob("*") if p.is_file()}
    web.left = float("inf")
    web.asked.clear()
    web.start()
    staged = open_store(stage(url, tmp_path / "s"))
    assert held and not {f"/store/{name}" for name in held} & set(web.asked)
    assert np.array_equal(staged.read(0, 480), open_store(origin).read(0, 480))


def test_what_a_server_lacks_or_denies_is_one_line(web, tmp_path):
    refused(lambda: stage(f"{web.url}/none", tmp_path / "s"), "not there", "404")
    web.answers["/store/state/c/7/0/0/0"] = 403
    refused(lambda: stage(f"{web.url}/store", tmp_path / "s"), "c/7/0/0/0", "answers 403")


def test_what_is_no_store_or_another_one_is_refused(origin, remote, tmp_path):
    with pytest.raises(InputError, match="not there"):
        stage("memory://nowhere", tmp_path / "s")
    stage(remote, tmp_path / "s")
    manifest = tmp_path / "s/manifest.json"
    manifest.write_text(json.dumps({"other": 1}))
    with pytest.raises(InputError, match="another store"):
        stage(remote, tmp_path / "s")
