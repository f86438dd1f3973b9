"""A store of the version before is brought to this one, whole or not at all."""

import hashlib
import json

import pytest
from builders import contents, make_store
from refusals import refused

from climate.conversion.upgrade import upgrade
from climate.conversion.verify import verify_store
from climate.store.layout import open_store

NEW = ("kind", "arrays", "digest", "software")


def age(path):
    """The manifest as the version before wrote it."""
    facts = json.loads((path / "manifest.json").read_text())
    facts["files"] = {name: want[:2] for name, want in facts["files"].items()}
    facts = {k: v for k, v in facts.items() if k not in NEW} | {"format": 2}
    (path / "manifest.json").write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")
    return hashlib.sha256((path / "manifest.json").read_bytes()).hexdigest()


@pytest.fixture
def old(tmp_path):
    path = make_store(tmp_path).path
    before = contents(path)
    age(path)
    return path, before


def test_it_ends_with_the_bytes_of_this_version(old):
    path, before = old
    refused(lambda: open_store(path), f"launch/store.py upgrade {path}")
    assert upgrade(path) == [f"{path}: brought from format 2 to 3"]
    assert contents(path) == before
    assert verify_store(path) == []
    assert upgrade(path) == []


def test_monthly_means_in_it_stay_those_of_the_store(old):
    path, _ = old
    origin = hashlib.sha256((path / "manifest.json").read_bytes()).hexdigest()
    upgrade(path)
    months = make_store(path.parent / "aside").path
    months.rename(path / "monthly")
    facts = json.loads((path / "monthly/manifest.json").read_text())
    facts["provenance"]["derived_from"] = origin
    (path / "monthly/manifest.json").write_text(json.dumps(facts))
    age(path / "monthly")
    age(path)
    assert len(upgrade(path)) == 2
    made = open_store(path / "monthly")
    assert made.provenance["derived_from"] == open_store(path).digest


def test_what_is_damaged_is_not_sealed(old):
    path, _ = old
    shard = path / "state/c/0/0/0/0"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    refused(lambda: upgrade(path), str(shard), "flipped bits", "convert again")
    assert json.loads((path / "manifest.json").read_text())["format"] == 2


def test_names_and_codecs_are_looked_at_first(old):
    path, _ = old
    facts = json.loads((path / "manifest.json").read_text())
    facts["files"]["../up"] = ["0" * 64, 0]
    (path / "manifest.json").write_text(json.dumps(facts))
    refused(lambda: upgrade(path), "no file inside")
    refused(lambda: upgrade(path / "none"), "not there")
