"""Published .pt files: read as data, never executed."""

import os

import numpy as np
import pytest
import torch
from system_fields import SYSTEMS, dataset

from physics_systems.data import importing
from physics_systems.data.importing import MISFIT
from physics_systems.data.simulate import solve_system
from physics_systems.systems.system import System
from vgbdm.errors import InputError

KINDS = tuple(type(system) for system in SYSTEMS.values())


def import_file(path, given=None):
    return importing.import_file(path, KINDS, given)


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
    with pytest.raises(InputError, match=r"is a folder; give the \.pt file itself"):
        import_file(tmp_path)
    with pytest.raises(InputError, match="is not there"):
        import_file(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(InputError, match="refused unread"):
        import_file(tmp_path / "text.pt")
    torch.save({"x": np.zeros(3)}, tmp_path / "less.pt")
    with pytest.raises(InputError, match="x, t and params"):
        import_file(tmp_path / "less.pt")


def van_der_pol(path):
    """Published in the same form: two components, three parameters, equations of none of ours."""
    count, clock = 8, torch.linspace(0, 2, 21, dtype=torch.float64)
    params = torch.rand((count, 3), generator=torch.manual_seed(0)).double() + 0.5
    mu, omega, push = params.T

    def rate(x, t, _):
        damping = mu * (1 - x[:, 0].square()) * x[:, 1]
        return torch.stack((x[:, 1], damping - omega * x[:, 0] + push), 1)

    start = torch.stack((params[:, 0], params[:, 1]), 1)
    x = solve_system(rate, start, clock.expand(count, -1), {}, "")
    arrays = {"x": x.numpy(), "t": clock.numpy(), "params": params.numpy()}
    torch.save(arrays, path)
    return path


def test_a_file_of_another_system_of_the_same_shape_is_refused_unless_it_is_named(tmp_path, caplog):
    path = van_der_pol(tmp_path / "f.pt")
    with pytest.raises(InputError, match=r"rlc [1-9.]+; at most 0\.1\); say .* system=NAME"):
        import_file(path)
    assert import_file(path, given=type(SYSTEMS["rlc"])).attrs["system"] == "rlc"
    assert "fit badly" in caplog.text
    with pytest.raises(InputError, match="lorenz wants"):
        import_file(path, given=type(SYSTEMS["lorenz"]))


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_equations_of_each_system_fit_its_own_data_with_room_to_spare(name):
    made, kind = dataset(name), type(SYSTEMS[name])
    x, t, params = (made[variable].values for variable in ("x", "t", "params"))
    columns, misfit = importing.name_columns(kind, x, t, params)
    assert columns == tuple(range(len(kind.parameters)))
    assert misfit < MISFIT / 10


class OwnData(System):
    """Known in part only: no equations that all of the data could be held against."""

    name, components, parameters = "own", ("A", "B"), ("a", "b", "c")

    def known(self, x, t, theta):
        return x * theta["a"][:, None]


def test_a_system_known_in_part_is_never_guessed_but_can_be_named(tmp_path):
    path = van_der_pol(tmp_path / "f.pt")
    with pytest.raises(InputError, match="none can be computed"):
        importing.import_file(path, (OwnData,))
    found = importing.import_file(path, (OwnData,), OwnData)
    assert (found.attrs["system"], list(found["param"].values)) == ("own", ["a", "b", "c"])
    assert np.array_equal(found["params"], torch.load(path, weights_only=False)["params"])
