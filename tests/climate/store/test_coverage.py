"""Windows test only the frames they use; those of each split and every gap are said."""

import builders
import numpy as np
import pytest
from builders import SPLITS, hours, source, write_variable

from climate.conversion.convert import convert
from climate.conversion.verify import describe_store
from climate.models.step_change import step_change
from climate.store.coverage import describe_times
from climate.store.layout import open_store
from climate.stream.batches import WindowStream, read_windows

HOUR = np.timedelta64(3600, "s")
SIX = 6 * HOUR


def with_gaps(path, missing, step=1):
    times = hours("2016-01-01", 480 // step, step)
    kept = np.delete(np.arange(len(times)), missing)
    write_variable(path / "files", "z", times[kept])
    convert(source(path / "files", ("z",)).open(), path / "store", SPLITS, source={})
    return open_store(path / "store")


@pytest.fixture(scope="module")
def gappy(tmp_path_factory):
    """Hourly; 100 is not at a multiple of six hours, 204 is."""
    return with_gaps(tmp_path_factory.mktemp("gappy"), [100, 204, 205])


def test_a_window_needs_only_the_times_of_its_states(gappy):
    anchors = gappy.anchors("train", SIX, 3, 1)
    kept = np.flatnonzero(~np.isin(np.arange(480), [100, 204, 205]))
    held = set(kept.tolist())
    want = [t for t in range(288) if all(0 <= t + 6 * k < 288 and t + 6 * k in held
                                         for k in range(-3, 2))]  # fmt: skip
    assert kept[anchors].tolist() == want
    assert 99 in want and 105 in want and 198 not in want and len(want) == 264 - 15


def test_its_states_are_those_of_their_times(gappy):
    anchors = gappy.anchors("train", SIX, 3, 1)
    windows = read_windows(gappy, anchors, stride=6, history=3, ahead=1)
    times = gappy.times[anchors][:, None] + np.arange(-3, 2) * SIX
    truth = builders.waves(times.ravel(), 0).reshape(*times.shape, 8, 16)
    assert np.array_equal(windows[:, :, 0], truth)
    change = step_change(gappy, SIX)
    pairs = gappy.times[gappy.anchors("train", SIX, 0, 1)]
    steps = builders.waves(pairs + SIX, 0) - builders.waves(pairs, 0)
    weights = gappy.grid.area_weights[:, None] / 16 / 8
    want = np.sqrt((steps.astype(float) ** 2 * weights).sum((1, 2)).mean())
    assert change[0] == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("big", [False, True], ids=["pools", "map by map"])
def test_the_stream_gives_the_states_of_their_times(gappy, monkeypatch, big):
    monkeypatch.setattr(type(gappy), "is_big", property(lambda self: big))
    options = {"history": 3, "ahead": 1, "lanes": 4, "global_batch": 4, "block_steps": 24}
    with WindowStream(gappy, "train", step=SIX, **options) as stream:
        for _ in range(80):
            batch = next(stream)
            real = batch.weights.numpy() > 0
            now = batch.times.numpy().astype("datetime64[s]")[real]
            times = now[:, None] + np.arange(-3, 2) * SIX
            truth = builders.waves(times.ravel(), 0).reshape(*times.shape, 8, 16)
            assert np.array_equal(batch.states.numpy()[real][:, :, 0], truth)


def test_windows_of_each_split_and_every_gap_are_said(gappy):
    said = describe_times(gappy)
    count = {name: len(gappy.anchors(name, SIX, 3, 1)) for name in SPLITS}
    assert said[0].startswith("train       2016-01-01 … 2016-01-12 23:00: 285 times, ")
    for name, line in zip(SPLITS, said[:3], strict=True):
        assert f"{count[name]} windows of 5 states 6 h apart" in line
    assert said[3:] == [
        "gap         2016-01-05 03:00 … 2016-01-05 05:00: 1 step of 1 h missing between them",
        "gap         2016-01-09 11:00 … 2016-01-09 14:00: 2 steps of 1 h missing between them",
    ]
    assert set(said) <= set(describe_store(gappy.path))


def test_many_gaps_are_counted_and_idle_times_said(tmp_path):
    store = with_gaps(tmp_path, np.arange(2, 76, 3), step=6)
    said = describe_times(store)
    assert said[0].endswith("32 times, 0 windows of 5 states 6 h apart; 32 times are in none")
    assert len(said) == 3 + 10 + 1 and said[-1] == "gap         and 15 more"


def test_conversion_prints_them(tmp_path, capsys):
    from convert_era5 import main
    from entry import compose_config

    builders.write_folder(tmp_path / "files")
    splits = [f"split.{name}=[{','.join(ends)}]" for name, ends in SPLITS.items()]
    cfg = compose_config(
        "convert_era5",
        [
            f"source.root={tmp_path}/files",
            f"store={tmp_path}/store",
            "variables=[z,u10,v10]",
            *splits,
        ],
    )
    main(cfg)
    said = capsys.readouterr().out
    assert all(line.strip() in said for line in describe_times(open_store(tmp_path / "store")))


def test_the_log_of_a_store_tells_its_beginning_and_its_end(gappy):
    begun, *others = (gappy.path / "convert.log").read_text().splitlines()
    assert " begun: " in begun and others[-1].endswith(" finished")
