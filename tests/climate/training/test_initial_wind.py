"""The cache of initial winds: right rows, made once, refused when stale or damaged."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from builders import contents, make_store
from disks import refuse_writing
from hydra import compose, initialize_config_dir
from runs import CONFIGS
from seals import reseal, rewrite

from climate.stream.batches import WindowStream, read_windows
from climate.training.initial_wind import (
    FIT_BYTES,
    InitialWinds,
    fits_at_once,
    initial_winds,
)
from climate.training.run import build_model
from vgbdm.errors import InputError

SIX = np.timedelta64(6 * 3600, "s")


class Ranks:
    """One of some ranks, which are threads."""

    def __init__(self, rank=0, meeting=None):
        self.rank, self.meeting = rank, meeting or threading.Barrier(1)
        self.world_size, self.waited = self.meeting.parties, 0

    def barrier(self):
        self.waited += 1
        self.meeting.wait(600)

    def broadcast(self, value):
        if self.rank == 0:
            self.meeting.value = value
        self.barrier()
        return self.meeting.value


def make_field(store, *options):
    with initialize_config_dir(CONFIGS, version_base="1.3"):
        base = ["store=s", "run_dir=r", "model=climode", "size=tiny", "model.fit.degree=3"]
        return build_model(compose("train_era5", [*base, *options]), store)[0]


@pytest.fixture(scope="module")
def own_store(tmp_path_factory):
    """A store to cache in."""
    return make_store(tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="module")
def winds(own_store):
    return initial_winds(make_field(own_store), own_store, Ranks())


def test_what_is_fitted_at_once_is_bounded_in_bytes_on_any_grid():
    fit = SimpleNamespace(shape=(4, 160))
    for height, width in ((32, 64), (121, 240), (721, 1440)):
        lat, lon = np.zeros(height), np.zeros(width)
        store = SimpleNamespace(channels=("z",) * 5, lat=lat, lon=lon)
        count = fits_at_once(SimpleNamespace(fit=fit, history=3), store)
        one = 4 * (4 * 160 + 4 * 5) * height * width
        assert count == max(1, FIT_BYTES // one)
        assert count * one <= max(FIT_BYTES, one)
    assert count == 1


def test_every_training_past_has_the_fit_a_forecast_would_make(own_store, winds):
    field, anchors = make_field(own_store), own_store.anchors("train", SIX, 3, 0)
    rows = winds.read(0, len(own_store.times))
    assert winds.shape == field.fit.shape == rows.shape[1:] == (2, 30)
    fitted = np.isfinite(rows).all((1, 2))
    assert np.array_equal(np.flatnonzero(fitted), anchors)
    assert np.isnan(rows[~fitted]).all()
    some = anchors[[0, 17, 100, len(anchors) - 1]]
    past = torch.from_numpy(read_windows(own_store, some, stride=6, history=3))
    want = field.fit_wind(field.standardise(past)).detach().numpy()
    assert np.allclose(rows[some], want, rtol=1e-3, atol=1e-3 * np.abs(want).max())
    assert np.abs(want).max() > 0.1


def test_the_stream_brings_the_row_of_the_current_state(own_store, winds):
    seconds, rows = own_store.times.astype(np.int64), winds.read(0, len(own_store.times))
    options = {"step": SIX, "history": 3, "global_batch": 16, "block_steps": 30, "pool_blocks": 8}
    for rank in range(2):
        with WindowStream(own_store, "train", rank=rank, ranks=2, aside=winds, **options) as stream:
            for _ in range(40):
                batch = next(stream)
                part = batch.part(2, 8).to(torch.device("cpu"))
                assert torch.equal(part.aside, batch.aside[2:8])
                for k in range(len(batch)):
                    if batch.weights[k]:
                        anchor = int(np.searchsorted(seconds, int(batch.times[k])))
                        assert np.array_equal(batch.aside[k].numpy(), rows[anchor])
                    else:
                        assert not batch.aside[k].any()


def test_without_an_array_aside_there_is_none(store):
    with WindowStream(store, "train", step=SIX, history=3, global_batch=16) as stream:
        batch = next(stream)
        assert batch.aside is None
        assert batch.part(0, 2).aside is None


def test_ranks_share_the_work(own_store, winds, tmp_path):
    store = make_store(tmp_path)
    field, meeting = make_field(store), threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        shared = list(pool.map(lambda k: initial_winds(field, store, Ranks(k, meeting)), [0, 1]))
    assert shared[0].path == shared[1].path
    rows, alone = shared[1].read(0, 480), winds.read(0, 480)
    assert np.array_equal(np.isnan(rows), np.isnan(alone))
    assert np.allclose(rows, alone, rtol=1e-4, atol=1e-4, equal_nan=True)


def test_the_cache_is_used_and_other_options_have_their_own(own_store, winds):
    marked = winds.path / "fits" / "mark"
    marked.touch()
    backend = Ranks()
    again = initial_winds(make_field(own_store), own_store, backend)
    assert again.path == winds.path
    assert marked.exists()
    assert backend.waited == 1
    other = initial_winds(make_field(own_store, "model.fit.smoothness=0.5"), own_store, Ranks())
    assert other.path != winds.path
    assert np.nanmean(other.read(0, 480) ** 2) < np.nanmean(winds.read(0, 480) ** 2)
    path = initial_winds(make_field(own_store, "path=hermite"), own_store, Ranks()).path
    assert len({path, other.path, winds.path}) == 3
    assert not list(own_store.path.glob(".initial_wind*"))


def test_a_run_that_was_not_the_first_takes_what_is_there(own_store, winds):
    class Late(Ranks):
        def broadcast(self, value):
            return 7

    made = (winds.path / "manifest.json").stat().st_mtime_ns
    assert initial_winds(make_field(own_store), own_store, Late()).path == winds.path
    assert (winds.path / "manifest.json").stat().st_mtime_ns == made
    assert not list(own_store.path.glob(".initial_wind*"))


def test_fits_to_another_content_are_refused(tmp_path):
    store = make_store(tmp_path)
    field = make_field(store)
    path = initial_winds(field, store, Ranks()).path
    held = (path / "manifest.json").read_bytes()
    for name in ("statistics", "store"):
        rewrite(path, **{name: "0"})
        with pytest.raises(InputError, match="fitted to other data than the store holds"):
            initial_winds(field, store, Ranks())
        (path / "manifest.json").write_bytes(held)
    (path / "manifest.json").unlink()
    with pytest.raises(InputError, match="remove it, to fit again"):
        initial_winds(field, store, Ranks())


def test_a_stopped_fit_leaves_no_cache(tmp_path):
    store = make_store(tmp_path)
    field = make_field(store)
    field.fit_wind = lambda past: (_ for _ in ()).throw(RuntimeError("stopped"))
    with pytest.raises(RuntimeError, match="stopped"):
        initial_winds(field, store, Ranks())
    assert not list(store.path.glob("initial_wind*"))
    assert initial_winds(make_field(store), store, Ranks()).path.exists()
    assert not list(store.path.glob(".initial_wind*"))


def test_missing_and_damaged_rows_are_refused(tmp_path):
    store = make_store(tmp_path)
    winds = initial_winds(make_field(store), store, Ranks())
    chunk = winds.path / "fits/c/1/0/0"
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        InitialWinds(winds.path).read(96, 192)
    chunk.unlink()
    with pytest.raises(InputError, match="fits/c/1/0/0: is missing; remove it, to fit again"):
        InitialWinds(winds.path).read(96, 192)
    reseal(winds.path)  # as if it had never been fitted
    winds, options = InitialWinds(winds.path), {"step": SIX, "history": 3, "global_batch": 16}
    with pytest.raises(InputError, match=r"nothing stands aside of \d{4}-"):
        stream = WindowStream(store, "train", aside=winds, **options)
        for _ in range(40):
            next(stream)


def test_fits_to_a_read_only_store_are_kept_aside(own_store, winds, tmp_path, monkeypatch):
    store = make_store(tmp_path)
    field, aside = make_field(store), tmp_path / "run" / "derived"
    refuse_writing(monkeypatch, store.path)
    before = contents(store.path)
    with pytest.raises(InputError, match="is read-only and holds no initial winds"):
        initial_winds(field, store, Ranks())
    made = initial_winds(field, store, Ranks(), aside)
    assert made.path == aside / winds.path.name
    assert contents(store.path) == before
    assert np.array_equal(made.read(0, 480), winds.read(0, 480), equal_nan=True)
    backend = Ranks()
    assert initial_winds(field, store, backend, aside).path == made.path
    assert backend.waited == 1
    assert not list(aside.glob(".initial_wind*"))


def test_ranks_agree_on_what_is_aside(own_store, winds, tmp_path, monkeypatch):
    store, aside, meeting = make_store(tmp_path), tmp_path / "aside", threading.Barrier(2)
    field = make_field(store)
    refuse_writing(monkeypatch, store.path)
    with ThreadPoolExecutor(2) as pool:
        shared = list(
            pool.map(lambda k: initial_winds(field, store, Ranks(k, meeting), aside), [0, 1])
        )
    assert {part.path.parent for part in shared} == {aside}


def test_fits_that_are_in_a_read_only_store_are_used(own_store, winds, tmp_path, monkeypatch):
    refuse_writing(monkeypatch, own_store.path)
    again = initial_winds(make_field(own_store), own_store, Ranks(), tmp_path)
    assert again.path == winds.path
    assert not list(tmp_path.iterdir())


def test_old_fits_in_a_read_only_store_are_passed_by(tmp_path, monkeypatch):
    store = make_store(tmp_path)
    field = make_field(store)
    path = initial_winds(field, store, Ranks()).path
    (path / "manifest.json").unlink()
    refuse_writing(monkeypatch, store.path)
    assert initial_winds(field, store, Ranks(), tmp_path / "run").path.parent == tmp_path / "run"


def test_two_folders_that_cannot_be_written_are_named(tmp_path, monkeypatch):
    store, aside = make_store(tmp_path), tmp_path / "run"
    refuse_writing(monkeypatch, store.path, aside)
    with pytest.raises(InputError, match=r"store is read-only, and so is .*run, where"):
        initial_winds(make_field(store), store, Ranks(), aside)
