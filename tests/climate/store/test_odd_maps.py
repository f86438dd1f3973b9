"""Maps of one value, repeated maps and jumps: listed, and refused for the state of the air."""

import json
import logging
import re

import builders
import numpy as np
import pytest
from builders import ABOUT, LAT, SPLITS, hours, write_variable
from entry import compose_config
from generic_weather import LAT as ROWS
from generic_weather import STARTS, drifting_states, drifting_times
from refusals import refused
from seals import manifest_of

from climate.conversion import map_survey
from climate.conversion.append import append
from climate.conversion.convert import convert
from climate.conversion.map_survey import survey
from climate.conversion.verify import describe_store
from climate.store import odd_maps
from climate.store.layout import open_store
from climate.store.odd_maps import Maps, describe_odd_maps, find_odd
from climate.training import preflight

TIMES = hours("2016-01-01", 480)
AREA = np.cos(np.deg2rad(LAT))
SERIAL = {"source": ABOUT, "scheduler": "synchronous"}


def waved(change=None, times=TIMES):
    values = builders.waves(times, 2)
    if change is not None:
        change(values)
    return values


def spike(values):
    values[300] += 60


def shift(values):
    values[300:] += 60


def one_point(values):
    values[300, 3, 5] += 70


def constant(values):
    values[300] = 4.5


def repeated(values):
    values[300] = values[299]


def first(values):
    values[0] += 60


ODD = {
    "spike": (spike, "u10 jumps at 2016-01-13 12:00: it changes by", "2 jumps at 2016-01-13 12:00"),
    "shift": (shift, "u10 jumps at 2016-01-13 12:00: it changes by", "1 jump at 2016-01-13 12:00"),
    "one point": (one_point, "changes by up to 69.51", "2 jumps at 2016-01-13 12:00"),
    "constant": (constant, "u10 at 2016-01-13 12:00 is of one value", "1 map is of one value"),
    "repeated": (
        repeated,
        "u10 at 2016-01-13 12:00 is the same as the one before",
        "1 map is the same as the one before: 2016-01-13 12:00",
    ),
    "first": (first, "u10 jumps at 2016-01-01 01:00: it changes by", "1 jump at 2016-01-01 01:00"),
}


def files_with(root, values):
    write_variable(root, "u10", TIMES, values=values)
    write_variable(root, "v10", TIMES)
    return root


def converted(root, path, variables=("u10", "v10"), **options):
    convert(builders.source(root, variables).open(), path, SPLITS, **SERIAL, **options)
    return open_store(path)


@pytest.mark.parametrize("kind", ODD)
def test_they_are_refused_and_each_remedy_works(tmp_path, kind):
    change, words, line = ODD[kind]
    root = files_with(tmp_path / "files", waved(change))
    said = refused(lambda: converted(root, tmp_path / "s"), words, "10m_u_component_of_wind_2016")
    assert "variables=" in said and "period=" in said and "restart=true" in said
    kept = converted(root, tmp_path / "s", odd_maps=re.search(r"odd_maps=(\w+)", said)[1])
    assert np.array_equal(kept.read(0, 480)[:, 0], waved(change))
    (listed,) = describe_odd_maps(kept.path)[:1]
    assert listed.startswith("u10: ") and line in listed
    assert any(entry == f"odd maps    {listed}" for entry in describe_store(kept.path))
    refused(lambda: converted(root, tmp_path / "t"), words)
    assert not describe_odd_maps(converted(root, tmp_path / "t", ("v10",), restart=True).path)


def test_a_mended_file_is_converted(tmp_path):
    root = files_with(tmp_path / "files", waved(spike))
    refused(lambda: converted(root, tmp_path / "s"), "jumps")
    store = converted(files_with(tmp_path / "new", waved()), tmp_path / "s", restart=True)
    assert describe_odd_maps(store.path) == []


def test_other_channels_are_listed_only(tmp_path):
    rain = np.maximum(waved(), 0)
    rain[40:60] = 0.0
    rain[70] = rain[69]
    write_variable(tmp_path / "files", "u10", TIMES, values=rain)
    source = builders.source(tmp_path / "files", ("u10",))
    dataset = source.open().rename(u10="rain")
    convert(dataset, tmp_path / "s", SPLITS, **SERIAL)
    lines = describe_odd_maps(tmp_path / "s")
    assert lines[:2] == [
        "rain: 20 maps are of one value: 2016-01-02 16:00, 2016-01-02 17:00, 2016-01-02 18:00 …",
        "rain: 1 map is the same as the one before: 2016-01-03 22:00",
    ]
    assert lines[2].startswith("rain: 2 jumps at 2016-01-02 16:00, 2016-01-03 12:00: it changes by")


def test_shards_and_their_borders_do_not_matter(tmp_path, monkeypatch):
    root = files_with(tmp_path / "files", waved(shift))
    kept = converted(root, tmp_path / "s", odd_maps="keep")
    monkeypatch.setattr("climate.store.layout.SHARD_STEPS", 60)  # the shift is at a border
    small = converted(root, tmp_path / "t", odd_maps="keep")
    one, two = (manifest_of(s.path)["maps"] for s in (kept, small))
    assert one == two and len(list((small.path / "state").rglob("0"))) > 1


def test_gaps_are_no_jumps_and_filled_values_do_not_count(tmp_path):
    times = np.delete(TIMES, np.r_[200:296])
    values = builders.waves(times, 2)
    values[120, :4] = np.nan
    write_variable(tmp_path / "files", "u10", times, values=values)
    store = converted(tmp_path / "files", tmp_path / "s", ("u10",), nan_allowance=0.5)
    assert len(store.times) == 384 and not describe_odd_maps(store.path)


def test_what_is_appended_is_held_against_the_whole_store(tmp_path):
    later = hours("2016-01-21", 30)
    root = files_with(tmp_path / "files", waved(constant))
    converted(root, tmp_path / "s", odd_maps="keep")
    values = waved(times=later)
    values[0] += 60
    for name, held in (("u10", values), ("v10", None)):
        write_variable(root, name, later, file="2017", values=held)
    dataset = builders.source(root, ("u10", "v10")).open()
    before = builders.contents(tmp_path / "s")
    refused(
        lambda: append(dataset, tmp_path / "s", SPLITS, **SERIAL),
        "u10 jumps at 2016-01-21: it changes by", "append again with restart=true",
    )  # fmt: skip
    now = builders.contents(tmp_path / "s")
    assert {name: now[name] for name in before} == before
    append(dataset, tmp_path / "s", SPLITS, **SERIAL, odd_maps="keep")
    lines = describe_odd_maps(tmp_path / "s")
    assert "u10: 1 map is of one value" in lines[0]
    assert "u10: 4 jumps at 2016-01-13 12:00, 2016-01-13 13:00, 2016-01-21 …" in lines[1]
    again = hours("2016-01-22T06", 30)
    for name in ("u10", "v10"):
        write_variable(root, name, again, file="2018")
    append(builders.source(root, ("u10", "v10")).open(), tmp_path / "s", SPLITS, **SERIAL)
    assert describe_odd_maps(tmp_path / "s")[0] == lines[0]


def test_a_word_that_is_none_is_refused(tmp_path):
    root = files_with(tmp_path / "files", waved())
    refused(lambda: converted(root, tmp_path / "s", odd_maps="no"), "want refuse or keep")


def one_channel(values, **options):
    clock = hours("2016-01-01", len(values))
    linked = np.arange(len(values)) > 0
    return survey(values[:, None], None, None, linked, clock, AREA, **options)[0]


@pytest.mark.parametrize(("maps", "states"), [(1, 1), (2, 3), (99, 99)])
def test_changes_are_measured_by_area_over_what_is_there(monkeypatch, maps, states):
    """In blocks of any size: rms and largest change of each map since the one a step before."""
    values, missing = drifting_states(), np.zeros((12, 3, 4, 8), bool)
    missing[6, 1, 2, 3:6], missing[7, 2] = True, True
    linked = np.isin(np.arange(12), STARTS, invert=True)
    block = maps * 4 * 32 if maps == states else states * 4 * 96
    monkeypatch.setattr(map_survey, "SUM_BYTES", block)
    weights = 2 * np.cos(np.deg2rad(ROWS))
    found = survey(values, None, missing, linked, drifting_times(), weights)
    area = (weights / weights.sum())[:, None] / 8
    held = np.where(missing, np.nan, values.astype(np.float64))
    for c, one in enumerate(found):
        want = []
        for n in np.flatnonzero(linked):
            change = held[n, c] - held[n - 1, c]
            if not np.isnan(change).all():
                rms = np.sqrt((np.nan_to_num(change) ** 2 * area).sum())
                want.append((drifting_times()[n].astype(int), rms, np.nanmax(abs(change))))
        got = {time: (rms, peak) for time, rms, peak in one.top}
        assert set(got) <= {time for time, _, _ in want} and len(got) >= min(8, len(want))
        for time, rms, peak in want:
            if time in got:
                assert got[time] == pytest.approx((rms, peak), rel=1e-4)
        sizes = np.floor(odd_maps.BINS * np.log2([rms for _, rms, _ in want])).astype(int)
        assert sum(one.rms.values()) == len(want) and set(one.rms) == set(sizes.tolist())


def test_the_percentile_is_that_of_numpy():
    rng = np.random.default_rng(0)
    steps = rng.lognormal(0, 1, 20000)
    values = np.zeros((20001, 8, 16), np.float32)
    values[1:] = np.cumsum(steps * rng.choice([-1, 1], 20000))[:, None, None]
    values += np.linspace(0, 1, 128, dtype=np.float32).reshape(8, 16)
    held = one_channel(values)
    want = np.percentile(np.abs(np.diff(values[:, 0, 0])), 99.9)
    assert odd_maps._usual(held.rms) == pytest.approx(want, rel=0.05)
    assert odd_maps._usual(held.peak) == pytest.approx(want, rel=0.05)


def test_memory_does_not_grow_with_the_times():
    values = waved(times=hours("2016-01-01", 2000))
    whole = one_channel(values)
    assert len(whole.top) <= 2 * odd_maps.REMEMBERED and sum(whole.rms.values()) == 1999
    assert len(whole.rms) < 200 and Maps.from_json(json.loads(json.dumps(whole.to_json()))) == whole


def test_a_mask_that_stands_still_is_neither_constant_nor_repeated():
    values = waved(times=TIMES[:100])[:, None]
    missing = np.zeros(values.shape, bool)
    missing[..., 2:7, :] = True
    values[missing] = 7.0
    linked = np.arange(100) > 0
    (held,) = survey(values, None, missing, linked, TIMES[:100], AREA)
    assert not find_odd(["sst"], [held])
    values[50, 0, :2] = values[50, 0, 7] = 1.0
    (held,) = survey(values, None, missing, linked, TIMES[:100], AREA)
    assert next(odd.kind for odd in find_odd(["sst"], [held])) == "constant"


def test_check_lists_them(tmp_path, caplog, monkeypatch):
    root = files_with(tmp_path / "files", waved(spike))
    store = converted(root, tmp_path / "s", odd_maps="keep")
    told = [f"store={store.path}", f"run_dir={tmp_path}/run", "size=tiny", "batch=8"]
    passes = dict.fromkeys(("fp32", "bf16"), (1.0, 1.0))

    def measure(trainer, backend, _):
        backend.shapes = {name: p.shape for name, p in trainer.field.named_parameters()}
        return preflight.Measured(1, 1, 2**40, 1.0, 1.0, passes)

    monkeypatch.setattr(preflight, "measure", measure)
    with caplog.at_level(logging.INFO):
        preflight.preflight(compose_config("train_era5", told))
    assert "look at odd maps before training: u10: 2 jumps at 2016-01-13 12:00" in caplog.text
    assert "nothing stands out" not in caplog.text


@pytest.mark.parametrize("name", ["u10", "v10"])
def test_real_winds_have_none(winds, name, tmp_path):
    splits = {
        "train": ["2026-03-24T00", "2026-04-23T00"],
        "val": ["2026-04-23T06", "2026-04-25T12"],
        "test": ["2026-04-25T18", "2026-05-06T12"],
    }
    source = builders.source(winds, (name,))
    convert(source.open(), tmp_path / "s", splits, **SERIAL)
    assert describe_odd_maps(tmp_path / "s") == []
    (held,) = manifest_of(tmp_path / "s")["maps"]
    maps = Maps.from_json(held)
    for k, sizes in ((1, maps.rms), (2, maps.peak)):
        assert max(one[k] for one in maps.top) < 3 * odd_maps._usual(sizes)


def test_a_shard_of_one_map_is_measured_too():
    flat, alone = np.full((1, 8, 16), 4.5, np.float32), waved()[:1]
    for values, count in ((flat, 1), (alone, 0)):
        found = one_channel(values)
        assert found.constant[0] == count and found.repeated[0] == 0
        assert found.top == () and not found.rms and not found.peak


@pytest.mark.parametrize("total", [49, 50, 2000, 40000])
@pytest.mark.parametrize("below", [-1, 0, 1])
def test_what_is_usual_is_the_change_of_a_rank(total, below):
    """The 99.9th percentile, and 16 changes beyond it at least; of fewer than 50 none is."""
    rank = min(int(0.999 * (total - 1)), total - 17)
    sizes = {-3: rank - 5 + below, 8: 5, 64: total - rank - below}
    want = None if total < 50 else 2 ** (9 / 32) if below == 1 else 2 ** (65 / 32)
    assert odd_maps._usual(sizes) == pytest.approx(want)


def test_changes_are_counted_in_32nds_of_an_octave():
    """Manifests hold these counts: another number would read those of other stores wrongly."""
    one = one_channel(np.float32(2.0) ** np.arange(3)[:, None, None] + np.zeros((8, 16)))
    assert one.rms == one.peak == {0: 1, 32: 1}
