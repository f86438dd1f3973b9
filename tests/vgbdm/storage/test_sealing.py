"""A sealed folder gives what was written, or says what is wrong with it."""

import hashlib
import itertools
import json
import os
import shutil

import numcodecs
import numpy as np
import pytest
import zarr
from refusals import refused
from seals import manifest_of, reseal, rewrite

from vgbdm.errors import InputError
from vgbdm.storage.door import check_packed
from vgbdm.storage.files import aside_of
from vgbdm.storage.sealed import Sealed
from vgbdm.storage.sealing import (
    BLANK,
    MANIFEST,
    digest_tree,
    read_manifest,
    seal_folder,
    verify_folder,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("sealed") / "s"
    group = zarr.open_group(path, mode="w")
    for name, size in (("x", 40), ("y", 40)):
        values = np.random.default_rng(len(name)).normal(size=size)
        group.create_array(name, shape=(size,), chunks=(20,), dtype="f8")[...] = values + (
            name == "y"
        )
    seal_folder(path, "test", {"told": 1})
    return path


@pytest.fixture
def folder(made, tmp_path):
    shutil.copytree(made, tmp_path / "s")
    return tmp_path / "s"


def opened(folder) -> Sealed:
    return Sealed(folder, read_manifest(folder, "test", "make it again"), "make it again")


def test_what_was_written_is_read(folder):
    assert opened(folder).facts["told"] == 1
    assert opened(folder).values("x").shape == (40,)
    assert verify_folder(folder) == []


def test_every_flipped_bit_of_a_manifest_is_noticed(folder):
    manifest = folder / MANIFEST
    whole = manifest.read_bytes()
    rng = np.random.default_rng(0)
    for at in rng.choice(len(whole), 300, replace=False):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << int(rng.integers(8))
        manifest.write_bytes(flipped)
        refused(lambda: read_manifest(folder, "test", "make it again"), MANIFEST, "make it again")


@pytest.mark.parametrize("last", [{}, {"told": 1}])
def test_data_are_known_again_whichever_version_wrote_them(tmp_path, monkeypatch, last):
    digests, texts = set(), set()
    for version in ("vgbdm 0.1.0", "vgbdm 0.2.0 (commit 6ae1f0e-dirty)"):
        folder = tmp_path / version
        folder.mkdir()
        monkeypatch.setattr("vgbdm.storage.sealing.software", lambda version=version: version)
        seal_folder(folder, "test", last)
        held = read_manifest(folder, "test", "make it again")
        assert held["software"] == version
        digests.add(held["digest"])
        texts.add((folder / MANIFEST).read_text())
    assert len(digests) == 1 and len(texts) == 2
    seal_folder(folder, "test", {**last, "other": 1})
    assert read_manifest(folder, "test", "make it again")["digest"] not in digests


def test_the_digest_is_that_of_a_manifest_that_names_no_version(folder):
    facts = manifest_of(folder) | {"digest": BLANK}
    del facts["software"]
    text = json.dumps(facts, indent=1, sort_keys=True) + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    (folder / MANIFEST).write_text(text.replace(BLANK, digest))
    held = read_manifest(folder, "test", "make it again")
    assert held["digest"] == digest and "software" not in held


@pytest.mark.parametrize("name", ["x/zarr.json", "x/c/0", "x/c/1"])
def test_a_file_that_is_damaged_cut_missing_or_another_is_noticed(folder, name):
    path, whole = folder / name, (folder / name).read_bytes()
    for at in (0, len(whole) // 2, len(whole) - 1):
        flipped = bytearray(whole)
        flipped[at] ^= 4
        path.write_bytes(flipped)
        refused(lambda: opened(folder).values("x"), str(path), "is damaged", "make it again")
        assert verify_folder(folder) == [f"{name}: flipped bits (digest differs)"]
    path.write_bytes(whole[:-1])
    refused(lambda: opened(folder).values("x"), str(path), "is damaged")
    path.write_bytes(whole + b"x")
    refused(lambda: opened(folder).values("x"), str(path), "are the most")
    path.unlink()
    refused(lambda: opened(folder).values("x"), str(path), "is missing")
    os.mkfifo(path)
    refused(lambda: opened(folder).values("x"), str(path), "no regular file")


def test_two_files_exchanged_are_noticed(folder):
    a, b = (folder / f"{name}/c/0" for name in "xy")
    content = a.read_bytes()
    a.write_bytes(b.read_bytes())
    b.write_bytes(content)
    for name in "xy":
        refused(lambda name=name: opened(folder).values(name), f"{name}/c/0", "is damaged")
    assert len(verify_folder(folder)) == 2


def test_a_chunk_that_is_not_listed_is_noticed(folder):
    facts = manifest_of(folder)
    rewrite(folder, files={k: v for k, v in facts["files"].items() if k != "x/c/1"})
    refused(lambda: opened(folder).values("x"), "x/c/1", "not listed")
    assert verify_folder(folder) == ["x/c/1: not listed in the manifest"]


def test_names_that_lead_outside_are_refused_with_right_digests_too(folder, tmp_path):
    (tmp_path / "up").write_bytes(b"x")
    for name in ("../up", str(tmp_path / "up")):
        rewrite(folder, files=manifest_of(folder)["files"] | {name: ["0" * 64, 1]})
        assert any("no file inside" in line for line in verify_folder(folder))
        refused(lambda name=name: opened(folder).read(name), "no file inside")
    shutil.move(folder / "x", tmp_path / "x")
    (folder / "x").symlink_to(tmp_path / "x")
    refused(lambda: opened(folder).values("x"), "is a link")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"files": []}, "files is"),
        ({"files": {"x/zarr.json": 7}}, "manifest.json: says '7' of x/zarr.json"),
        ({"files": {"x/zarr.json": ["0", "1"]}}, "which is no digest"),
        ({"files": {"x/zarr.json": ["0", 10**18]}}, "which is no digest"),
        ({"arrays": {"x": 7}}, "not the array"),
        ({"arrays": {"x": [[41], [20], "float64"]}}, "not the array"),
        ({"arrays": {"x": [[40], [20], "float32"]}}, "not the array"),
        ({"arrays": {}}, "not the array"),
        ({"kind": "another"}, "holds another, not test"),
        ({"kind": 3}, "kind is"),
    ],
)
def test_a_manifest_that_tells_of_something_else_is_refused(folder, changes, words):
    rewrite(folder, **changes)
    refused(lambda: opened(folder).values("x"), words)


def test_a_format_of_another_version_is_named(folder):
    facts = manifest_of(folder) | {"format": 99}
    (folder / MANIFEST).write_text(json.dumps(facts))
    refused(lambda: read_manifest(folder, "test", "", "use upgrade"), "format 99", "use upgrade")


def test_a_shape_without_end_is_refused_before_memory_is_taken(folder):
    facts = json.loads((folder / "x/zarr.json").read_text())
    for shape, chunk in (([10**11], [20]), ([40], [10**11])):
        facts |= {"shape": shape}
        facts["chunk_grid"]["configuration"]["chunk_shape"] = chunk
        (folder / "x/zarr.json").write_text(json.dumps(facts))
        reseal(folder)
        refused(lambda: opened(folder).values("x"), "x/zarr.json", "are the most")


def test_a_file_is_compared_once(folder, monkeypatch):
    held, calls = opened(folder), itertools.count()
    real = held._check
    monkeypatch.setattr(held, "_check", lambda *a: (next(calls), real(*a)))
    for _ in range(3):
        held.values("x")
    assert next(calls) == 1


def test_what_another_manifest_says_by_now_is_right_too(folder):
    new = bytes(reversed((folder / "x/c/0").read_bytes()))
    old = read_manifest(folder, "test", "")
    (folder / "x/c/0").write_bytes(new)
    with pytest.raises(InputError):
        Sealed(folder, old, "").read("x/c/0")
    reseal(folder)
    held = Sealed(folder, old, "", lambda: [read_manifest(folder, "test", "")])
    assert held.read("x/c/0") == new


@pytest.mark.parametrize("size", [3, 300, 70_000, 5_000_000])
def test_a_chunk_that_says_it_unpacks_to_any_size_is_refused(folder, size):
    packed = numcodecs.Zstd().encode(bytes(size))
    check_packed(packed, "c", "")
    head = packed[:4] + bytes([0xC0 | 0x20]) + (2**40).to_bytes(8, "little")
    for bomb, words in ((head + packed[6:], str(2**40)), (packed[:4] + b"\0\0", "any number of")):
        (folder / "x/c/0").write_bytes(bomb)
        reseal(folder)
        refused(lambda: opened(folder).values("x"), "x/c/0", f"unpack to {words} bytes")


def test_what_another_process_makes_for_a_moment_is_not_listed(tmp_path):
    (tmp_path / "x").write_text("x")
    aside_of(tmp_path / "probe").write_text("")
    assert list(digest_tree(tmp_path)) == ["x"]


def test_files_of_an_array_are_compared_before_they_are_read_where_all_are_small(
    folder, monkeypatch
):
    sizes = [want[1] for name, want in manifest_of(folder)["files"].items() if name[0] == "x"]
    assert len(sizes) == 3
    (folder / "x/c/1").write_bytes((folder / "x/c/1").read_bytes()[:-1])
    monkeypatch.setattr("vgbdm.storage.sealed.SMALL_BYTES", sum(sizes))
    opened(folder).compare_small("x")
    monkeypatch.setattr("vgbdm.storage.sealed.SMALL_BYTES", sum(sizes) + 1)
    opened(folder).compare_small("y")
    refused(lambda: opened(folder).compare_small("x"), "x/c/1", "is damaged", "make it again")
