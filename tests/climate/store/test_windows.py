"""The window of a climatology: recorded by its store, and kept by all that is done with it."""

import json
import shutil

import builders
import numpy as np
import pytest
from refusals import refused

from climate.conversion.append import append
from climate.conversion.convert import convert
from climate.conversion.journal import Journal
from climate.conversion.request import read_request
from climate.conversion.verify import describe_store, repair
from climate.grids.area import Area
from climate.store.layout import WINDOW_FACT, open_store, read_facts
from climate.store.windows import WINDOWS, window_named
from climate.verification.kept_fits import _key
from vgbdm.storage.sealing import MANIFEST, write_manifest

SPLITS = {
    "train": ["2014-01-01", "2015-12-31"],
    "val": ["2016-01-01", "2016-01-20"],
    "test": ["2016-01-21", "2016-02-09"],
}
ABOUT = {"source": {"source": "waves"}, "scheduler": "synchronous"}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two years and forty days, a time a day."""
    base = tmp_path_factory.mktemp("files")
    times = builders.hours("2014-01-01", 770, 24)
    year = 20 * np.cos(2 * np.pi * np.arange(770) / 365.25)[:, None, None]
    values = (builders.waves(times, 0) + year).astype(np.float32)
    builders.write_variable(base, "z", times, values=values)
    builders.write_constants(base)
    return base


@pytest.fixture(scope="module")
def stores(files, tmp_path_factory):
    """One of each window, and one as it was before there was a choice."""
    base = tmp_path_factory.mktemp("stores")
    for name in WINDOWS:
        convert(dataset(files), base / name, SPLITS, climatology=name, **ABOUT)
    shutil.copytree(base / "box", base / "before")
    facts = read_facts(base / "before")
    del facts[WINDOW_FACT]
    write_manifest(base / "before", facts)
    return base


def dataset(files, stop=None):
    return builders.source(files, ("z",)).open().isel(time=slice(stop))


def test_the_window_is_in_the_manifest_and_in_what_is_said(stores):
    for name, window in WINDOWS.items():
        store = open_store(stores / name)
        assert json.loads((stores / name / MANIFEST).read_text())[WINDOW_FACT] == name
        assert store.climatology.binning.name == name and window.words in store.climatology.rule
        assert any(store.climatology.rule in line for line in describe_store(stores / name))
    states = {(stores / name / "state/c/0/0/0/0").read_bytes() for name in WINDOWS}
    means = {(stores / name / "climatology/c/0/0/0/0").read_bytes() for name in WINDOWS}
    assert len(states) == 1 and len(means) == len(WINDOWS)


def test_a_store_of_before_has_the_box_and_says_so(stores):
    box, before = (open_store(stores / name) for name in ("box", "before"))
    assert before.climatology.binning.name == "box" and "(box)" in before.climatology.rule
    assert np.array_equal(before.climatology.at(before.times), box.climatology.at(box.times))


def test_a_window_that_is_not_known_is_refused(stores, files, tmp_path):
    facts = read_facts(shutil.copytree(stores / "box", tmp_path / "store"))
    for name in ("hann", ["box"], None):
        write_manifest(tmp_path / "store", facts | {WINDOW_FACT: name})
        refused(lambda: open_store(tmp_path / "store"), WINDOW_FACT, "want weatherbench2, gaussian")
    refused(
        lambda: convert(dataset(files), tmp_path / "s", SPLITS, climatology="hann", **ABOUT),
        "climatology=hann: want weatherbench2, gaussian, box",
    )
    assert window_named("box") is WINDOWS["box"]


@pytest.mark.parametrize("name", ["weatherbench2", "before"])
def test_a_damaged_climatology_is_mended_with_its_own_window(stores, files, tmp_path, name):
    path = shutil.copytree(stores / name, tmp_path / "store")
    chunk = path / "climatology/c/3/0/0/0"
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[:-1])
    assert repair(path, dataset(files), ABOUT["source"]) == ["climatology/c/3/0/0/0"]
    assert chunk.read_bytes() == whole


def test_later_times_leave_the_window(files, stores, tmp_path):
    early = SPLITS | {"test": ["2016-01-21", "2016-01-30"]}
    convert(dataset(files, 760), tmp_path / "store", early, climatology="gaussian", **ABOUT)
    append(dataset(files), tmp_path / "store", SPLITS, **ABOUT)
    store, whole = open_store(tmp_path / "store"), open_store(stores / "gaussian")
    assert store.climatology.binning.name == "gaussian" and len(store.times) == 770
    assert np.array_equal(store.climatology.at(store.times), whole.climatology.at(store.times))


def test_a_stopped_conversion_goes_on_with_its_window_alone(files, stores, tmp_path, monkeypatch):
    def convert_to(name):
        convert(dataset(files), tmp_path / "store", SPLITS, climatology=name, **ABOUT)

    with monkeypatch.context() as patch:
        patch.setattr("climate.conversion.convert.write_derived", stop)
        with pytest.raises(KeyboardInterrupt):
            convert_to("gaussian")
    for other in ("weatherbench2", "box"):
        refused(lambda other=other: convert_to(other), "with other climatology was begun here")
    convert_to("gaussian")
    assert builders.contents(tmp_path / "store") == builders.contents(stores / "gaussian")


def stop(*_):
    raise KeyboardInterrupt


def test_what_was_begun_before_there_was_a_choice_goes_on_as_the_box(files, stores, tmp_path):
    journal = Journal(tmp_path)
    held = request_of(files, "box").fingerprint()
    del held["climatology"]
    journal.begin(held, {})
    journal.check(request_of(files, "box").fingerprint())
    refused(
        lambda: journal.check(request_of(files, "weatherbench2").fingerprint()),
        "with other climatology was begun here",
    )


def request_of(files, name):
    return read_request(dataset(files), SPLITS, {}, window=WINDOWS[name])


def test_a_store_without_seasons_has_no_window(store):
    assert WINDOW_FACT not in read_facts(store.path)
    assert store.climatology.binning.name == "hours"


def test_fits_of_another_climatology_are_not_taken(stores):
    keys = {}
    for name in (*WINDOWS, "before"):
        held = open_store(stores / name)
        area = Area.of(held.lat, held.lon, held.lat, held.lon)
        keys[name] = _key(held, area, held.step, 3)
    assert keys["before"] == keys["box"] and len(set(keys.values())) == len(WINDOWS)
