"""No byte of a store is believed before it is compared, and no name of it leads outside."""

import json
import os
import shutil

import numpy as np
import pytest
from builders import make_store
from refusals import refused
from seals import manifest_of, reseal, rewrite

from climate.conversion.append import _swap
from climate.conversion.journal import Journal
from climate.conversion.verify import describe_store, repair, verify_store
from climate.store.layout import open_store
from climate.store.staging import stage
from vgbdm.storage.sealing import digest_file

SMALL = ("lat", "lon", "time", "orography", "lsm", "mean_map", "climatology")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store of ten shards."""
    base = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("climate.store.layout.SHARD_STEPS", 48)
        return make_store(base).path


@pytest.fixture
def store(made, tmp_path):
    shutil.copytree(made, tmp_path / "store")
    return tmp_path / "store"


def chunks(store, name):
    return sorted(p for p in (store / name / "c").rglob("*") if p.is_file())


@pytest.mark.parametrize("name", SMALL)
def test_a_flipped_bit_of_a_small_file_is_noticed_when_a_store_is_opened(store, name):
    rng = np.random.default_rng(0)
    for path in (chunks(store, name)[0], store / name / "zarr.json"):
        whole = path.read_bytes()
        for at in rng.choice(len(whole), 5, replace=False):
            flipped = bytearray(whole)
            flipped[at] ^= 1 << int(rng.integers(8))
            path.write_bytes(flipped)
            refused(lambda: open_store(store), str(path), "is damaged", "repair")
        path.unlink()
        refused(lambda: open_store(store), str(path), "is missing", "repair")
        path.write_bytes(whole)
    open_store(store)


def test_a_climatology_too_large_to_compare_at_once_is_compared_as_it_is_read(store, monkeypatch):
    monkeypatch.setattr("vgbdm.storage.sealed.SMALL_BYTES", 0)
    path = chunks(store, "climatology")[0]
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    held = open_store(store)
    refused(lambda: held.climatology.at(held.times[:1]), str(path), "is damaged")


def exchange(store, a="state/c/0/0/0/0", b="state/c/1/0/0/0"):
    content = (store / a).read_bytes()
    (store / a).write_bytes((store / b).read_bytes())
    (store / b).write_bytes(content)


def test_two_whole_shards_exchanged_are_noticed_at_their_first_read(store):
    exchange(store)
    held = open_store(store)
    for times in ((0, 10), (50, 60)):
        refused(lambda times=times: held.read(*times), "is not the shard", "repair")
    held.read(100, 200)
    assert len(verify_store(store)) == 2


@pytest.mark.parametrize("codec", ["none", "lz4"])
def test_shards_whose_indices_are_byte_equal_are_told_apart(tmp_path, codec, monkeypatch):
    """Without compression all indices are equal, and with it those of noise are."""
    monkeypatch.setattr("climate.store.layout.SHARD_STEPS", 48)
    path = make_store(tmp_path, codec=codec).path
    if codec == "none":
        ends = [(path / f"state/c/{k}/0/0/0").read_bytes()[-36:] for k in range(2)]
        assert ends[0] == ends[1]
    exchange(path)
    refused(lambda: open_store(path).read(0, 48), "is not the shard")


def test_a_shard_is_compared_once(store, monkeypatch):
    held, calls = open_store(store), []
    real = held.state.folder.wants
    monkeypatch.setattr(held.state.folder, "wants", lambda *a: calls.append(a) or real(*a))
    for _ in range(3):
        held.read(0, 96)
    assert len(calls) == 2


def test_a_flipped_manifest_is_noticed_by_all_that_read_it(store):
    manifest = store / "manifest.json"
    manifest.write_text(
        manifest.read_text().replace('"nan_allowance": 0.0', '"nan_allowance": 0.5')
    )
    for read in (open_store, verify_store, describe_store, lambda s: stage(str(s), s.parent / "t")):
        refused(lambda read=read: read(store), "manifest.json", "is damaged")


def outside(store, name, want):
    """A name that leads out of the store, in a manifest whose digests are right."""
    rewrite(store, files=manifest_of(store)["files"] | {name: want})


@pytest.mark.parametrize("name", ["../up/x", "/tmp/up-x", "state/../../up/x"])
def test_names_of_a_manifest_stay_inside(store, tmp_path, name):
    (tmp_path / "up").mkdir()
    (tmp_path / "up/x").write_bytes(b"old")
    outside(store, name, ["0" * 64, 3])
    refused(lambda: stage(str(store), tmp_path / "staged"), "no file inside")
    assert any("no file inside" in line for line in verify_store(store))
    (store / "time/zarr.json").write_bytes(b"{}")
    assert (tmp_path / "up/x").read_bytes() == b"old"
    assert not (tmp_path / "staged").exists()


def test_repair_moves_nothing_outside(store, made, tmp_path):
    from builders import source

    (tmp_path / "up").write_bytes(b"old")
    outside(store, "../up", ["0" * 64, 9])
    dataset = source(made.parent / "files").open()
    refused(lambda: repair(store, dataset, {}), "../up", "no file inside")
    assert (tmp_path / "up").read_bytes() == b"old"


@pytest.mark.parametrize("name", ["/etc", "../outside", "state/../lat"])
def test_a_static_field_elsewhere_is_not_opened(store, name):
    rewrite(store, static=[name])
    refused(lambda: open_store(store), "no file inside")


def test_a_link_in_a_store_is_not_followed(store, tmp_path):
    shutil.move(store / "state/c/0/0/0/0", tmp_path / "shard")
    (store / "state/c/0/0/0/0").symlink_to(tmp_path / "shard")
    refused(lambda: open_store(store).read(0, 3), "is a link")
    shutil.move(store / "lat", tmp_path / "lat")
    (store / "lat").symlink_to(tmp_path / "lat")
    refused(lambda: open_store(store), "is a link")


def test_pipes_do_not_wait(store):
    for name in ("state/c/0/0/0/0", "lat/c/0", "manifest.json"):
        (store / name).unlink()
        os.mkfifo(store / name)
        refused(lambda: open_store(store).read(0, 3), name, "no regular file")


@pytest.mark.parametrize("shape", [[10**11], [9]])
def test_coordinates_without_end_or_of_another_grid_are_refused(store, shape):
    facts = json.loads((store / "lat/zarr.json").read_text())
    (store / "lat/zarr.json").write_text(json.dumps(facts | {"shape": shape}))
    reseal(store)
    words = "100000000000 values" if shape[0] > 9 else "states of"
    refused(lambda: open_store(store), words)


@pytest.mark.parametrize(
    "facts",
    [
        {"channels": "z"}, {"channels": []}, {"channels": [1]}, {"times": "x"}, {"times": True},
        {"times": 999},
        {"step_seconds": 10**18}, {"step_seconds": 0}, {"static": [["lsm"]]}, {"static": ["state"]},
        {"splits": {}}, {"splits": {"train": 3}}, {"splits": {"train": ["x", "y"]}},
        {"statistics": {}}, {"statistics": {"mean": {}}}, {"channel_attrs": []},
        {"provenance": None}, {"climatology_seasons": 1},
    ],
)  # fmt: skip
def test_a_manifest_of_wrong_types_ends_in_one_line(store, facts):
    rewrite(store, **facts)
    refused(lambda: open_store(store), str(store))


def test_a_store_of_the_version_before_names_the_command(store):
    facts = manifest_of(store) | {"format": 2}
    (store / "manifest.json").write_text(json.dumps(facts))
    refused(lambda: open_store(store), "format 2", f"launch/store.py upgrade {store}")


@pytest.mark.parametrize("name", ["../up", "lat/c/0", "manifest.json", "state/../../up"])
def test_an_append_moves_only_what_lies_along_time(store, tmp_path, name):
    (tmp_path / "up").write_bytes(b"old")
    (store / ".conversion/append").mkdir(parents=True)
    (store / ".conversion/swap.json").write_text(json.dumps({name: ["0" * 64, 3]}))
    refused(lambda: _swap(store), str(store), name)
    assert (tmp_path / "up").read_bytes() == b"old"


@pytest.mark.parametrize("name", ["../up", "lat/c/0", 7])
def test_records_of_a_conversion_name_only_shards(store, name):
    journal = Journal(store)
    journal.shards.mkdir(parents=True)
    record = {"files": {name: ["0" * 64, 3]}, "partial": None}
    journal.record(0).write_text(json.dumps(record))
    refused(lambda: journal.load(store, 1), str(store), str(name), "restart=true")


def test_a_conversion_does_not_go_on_with_damaged_coordinates(store):
    journal = Journal(store)
    journal.begin({}, {"lat/c/0": digest_file(store / "lat/c/0")})
    journal.check_begun(store)
    (store / "lat/c/0").write_bytes(b"x")
    refused(lambda: journal.check_begun(store), "lat/c/0", "restart=true")
