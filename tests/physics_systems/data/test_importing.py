"""Published .pt files: read as data, never executed."""

import os

import numpy as np
import pytest
import torch
from systems import SYSTEMS, dataset

from physics_systems.data.importing import import_file
from vgbdm.errors import InputError


def published(name, path, **changes):
    """A file as the benchmark's: numpy arrays, a size-1 axis in x, columns in any order."""
    made = dataset(name)
    x = made["x"].values[:, :, None]
    arrays = {"x": x, "t": made["t"].values, "params": made["params"].values} | changes
    torch.save(arrays, path)
    return path


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_published_file_becomes_the_dataset(name, tmp_path):
    made, found = dataset(name), import_file(published(name, tmp_path / "f.pt"))
    assert found.attrs["system"] == name
    for variable in ("x", "t", "params"):
        assert np.allclose(found[variable].values, made[variable].values)
    assert list(found["param"].values) == list(SYSTEMS[name].parameters)


def test_columns_are_named_by_the_equations(tmp_path):
    values = dataset("rlc")["params"].values
    path = published("rlc", tmp_path / "f.pt", params=values[:, [2, 0, 1]])
    assert np.allclose(import_file(path)["params"].values, values)


def test_one_clock_for_all_and_float32_are_accepted(tmp_path):
    clock = dataset("lorenz")["t"].values[0].astype(np.float32)
    found = import_file(published("lorenz", tmp_path / "f.pt", t=clock))
    assert found["t"].shape == dataset("lorenz")["t"].shape


class Trap:
    def __reduce__(self):
        return os.system, ("touch /tmp/trapped",)


def test_a_file_that_would_run_something_is_refused_unread(tmp_path):
    torch.save({"x": Trap(), "t": 0, "params": 0}, tmp_path / "trap.pt")
    with pytest.raises(InputError, match="refused unread") as refusal:
        import_file(tmp_path / "trap.pt")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": np.zeros((4, 30, 7))}, "of none of the systems"),
        ({"x": np.full((12, 30, 1, 3), np.nan)}, "not finite"),
        ({"t": np.zeros((12, 30))}, "do not increase"),
        ({"params": np.zeros((12, 2))}, "params of"),
        ({"t": np.zeros((12, 9))}, "wants t of"),
    ],
)
def test_what_does_not_fit_is_refused(change, words, tmp_path):
    with pytest.raises(InputError, match=words):
        import_file(published("lorenz", tmp_path / "f.pt", **change))


def test_files_of_other_kinds_are_refused(tmp_path):
    with pytest.raises(InputError, match="is not there"):
        import_file(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(InputError, match="refused unread"):
        import_file(tmp_path / "text.pt")
    torch.save({"x": np.zeros(3)}, tmp_path / "less.pt")
    with pytest.raises(InputError, match="x, t and params"):
        import_file(tmp_path / "less.pt")
