"""Tables that are kept: mapped, checked, made by one process, replaced when damaged, bounded."""

import logging
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch._subclasses.fake_tensor import FakeTensorMode

from climate.conventions.earth import EARTH_RADIUS
from climate.grids.grid import Grid
from climate.operators import harmonics, table_cache
from climate.operators.harmonics import BandedHarmonics
from climate.operators.sphere import SpectralOperators
from climate.operators.table_cache import cached_tables, default_folder, tables_kept_in

GRID = Grid(-90 + 22.5 * (np.arange(8) + 0.5), 22.5 * np.arange(16))


@pytest.fixture
def folder(tmp_path):
    with tables_kept_in(tmp_path / "tables"):
        yield tmp_path / "tables"


@pytest.fixture
def made(monkeypatch):
    """How often tables were made."""
    count, make = [], harmonics.band_tables
    monkeypatch.setattr(harmonics, "band_tables", lambda *a: count.append(a) or make(*a))
    return count


def kept(folder: Path) -> Path:
    (path,) = folder.glob("*.safetensors")
    return path


def values() -> torch.Tensor:
    return BandedHarmonics(GRID, 5, 1.0).bands[0].values


def test_tables_are_made_once_and_mapped_into_memory(folder, made):
    first, second = values(), values()
    assert len(made) == 1
    assert torch.equal(first, second)
    assert str(kept(folder)) in Path("/proc/self/maps").read_text()
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize(
    "other", [(GRID, 4, 1.0), (GRID, 5, 2.0), (Grid(np.linspace(-90, 90, 9), GRID.lon), 5, 1.0)]
)
def test_another_grid_truncation_or_radius_has_its_own_file(folder, made, other):
    values()
    BandedHarmonics(*other)
    assert len(made) == len(list(folder.glob("*.safetensors"))) == 2


@pytest.mark.parametrize("fact", ["VERSION", "torch_harmonics"])
def test_tables_of_another_version_are_made_again(folder, made, monkeypatch, fact):
    values()
    if fact == "VERSION":
        monkeypatch.setattr(table_cache, "VERSION", table_cache.VERSION + 1)
    else:
        monkeypatch.setattr(table_cache.torch_harmonics, "__version__", "0.0")
    values()
    assert len(made) == 2


def flip_a_number(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def replace_by_another_program(path: Path) -> None:
    tables = load_file(path)
    path.unlink()
    save_file(tables, path)


def copy_of_another_key(path: Path) -> None:
    BandedHarmonics(GRID, 4, 1.0)
    (other,) = set(path.parent.glob("*.safetensors")) - {path}
    other.replace(path)


@pytest.mark.parametrize(
    "damage", [flip_a_number, cut, empty, replace_by_another_program, copy_of_another_key]
)
def test_what_is_damaged_or_foreign_is_made_again(folder, made, damage):
    want = values().clone()
    damage(kept(folder))
    made.clear()
    assert torch.equal(values(), want)
    assert len(made) == 1
    assert torch.equal(values(), want)
    assert len(made) == 1


def test_what_a_killed_process_left_goes(folder):
    values()
    left = folder / f".{kept(folder).name}.{7:013x}.tmp"
    kept(folder).unlink()
    left.write_bytes(b"half")
    values()
    assert not left.exists() and kept(folder).exists()


def test_processes_that_start_together_make_tables_once(folder):
    """Each thread opens the lock by itself, which keeps them apart as it does processes."""
    begun, count, found = threading.Barrier(4), [], []

    def make() -> dict[str, torch.Tensor]:
        count.append(1)
        return {"a": torch.arange(1000.0)}

    def start() -> None:
        with tables_kept_in(folder):
            begun.wait()
            found.append(cached_tables(GRID, 5, 1.0, make)["a"])

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(count) == 1 and len(found) == 4
    assert all(torch.equal(x, torch.arange(1000.0)) for x in found)


def test_without_locks_whoever_is_last_leaves_whole_tables(folder, monkeypatch):
    def refuse(*_):
        raise OSError("no locks available")

    monkeypatch.setattr(table_cache.fcntl, "flock", refuse)
    assert torch.equal(values(), values())
    kept(folder)


@pytest.mark.parametrize("kind", ["a file", "not writable", "full"])
def test_without_a_folder_tables_are_made_once_a_start_and_one_line_says_so(
    tmp_path, made, caplog, kind, monkeypatch
):
    place = tmp_path / "place"
    if kind == "a file":
        place.write_text("")
    elif kind == "not writable":  # also to root
        place = Path("/proc/vgbdm")
    else:
        monkeypatch.setattr(table_cache, "save_file", _full)
    with tables_kept_in(place), caplog.at_level(logging.INFO):
        found = values()
    assert len(made) == 1 and found.abs().max() > 0
    (line,) = caplog.messages
    assert "cache=FOLDER" in line
    assert not list(tmp_path.glob("place/.*"))


def _full(tables, path, facts):
    Path(path).write_bytes(b"half")
    raise OSError(28, "No space left on device")


def test_a_folder_that_can_only_be_read_is_read(folder, made, monkeypatch):
    values()

    def refuse(*_, **__):
        raise PermissionError("read-only")

    monkeypatch.setattr(Path, "touch", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse)
    values()
    assert len(made) == 1


def test_operators_built_for_their_shapes_alone_are_not_kept(folder):
    with FakeTensorMode():
        assert values().shape == (2, 6, 3, 4)
    with torch.device("meta"):
        assert BandedHarmonics(GRID, 5, 1.0).bands[0].fit.shape == (2, 6, 4, 3)
    assert not folder.exists()


def test_files_unused_for_longest_go_when_the_folder_holds_too_much(folder, monkeypatch):
    for degree in (3, 4, 5):
        BandedHarmonics(GRID, degree, 1.0)
        (path,) = folder.glob(f"*-{degree}-*.safetensors")
        os.utime(path, (degree, degree))
    BandedHarmonics(GRID, 3, 1.0)  # used last
    monkeypatch.setattr(table_cache, "LIMIT", path.stat().st_size)
    BandedHarmonics(GRID, 2, 1.0)
    assert {p.name.split("-")[2] for p in folder.glob("*.safetensors")} == {"2", "3"}


def test_the_folder_is_the_users_unless_another_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    assert default_folder() == tmp_path / "own" / "vgbdm"
    values()
    kept(default_folder())
    with tables_kept_in(tmp_path / "told"):
        values()
        with tables_kept_in(None):
            assert table_cache._folder.get() is None
        kept(tmp_path / "told")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache" / "vgbdm"


@pytest.mark.slow
def test_a_quarter_degree_grid_has_its_operators_from_the_second_time_on_without_making(
    folder, made
):
    """x y z² + z has its exact slopes to 1e-4, and 1.3 GiB of tables are too much."""
    grid = Grid(np.linspace(-90, 90, 721), np.arange(1440) / 4)
    phi = torch.deg2rad(torch.from_numpy(grid.lat))[:, None]
    lam = torch.deg2rad(torch.from_numpy(grid.lon))[None]
    x, y, z = phi.cos() * lam.cos(), phi.cos() * lam.sin(), phi.sin() + 0 * lam
    slope = torch.stack((y * z**2, x * z**2, 2 * x * y * z + 1)) / EARTH_RADIUS
    for _ in range(2):
        operators = SpectralOperators(grid)
        bases = (operators.east, operators.north)
        want = torch.stack([(slope * basis).sum(0) for basis in bases]).float()
        got = torch.stack(operators.gradient((x * y * z**2 + z).float()))
        assert float((got - want).abs().max() / want.abs().max()) < 1e-4
    modes = torch.randn((480, 2, 480), generator=torch.manual_seed(0))
    modes = modes.transpose(0, 1).triu().transpose(0, 1)
    modes[0, 1] = 0
    back = operators.analysis(operators.synthesis(modes))
    assert float((back - modes).abs().max()) < 1e-5
    assert len(made) == 10
    assert kept(folder).stat().st_size < 0.75 * 2**30
    kept(folder).unlink()
