"""What a store of trajectories may hold, and the one line that refuses the rest."""

import numpy as np
import pytest
from systems import SYSTEMS, dataset

from physics_systems.trajectories import read, read_parameters, write
from vgbdm.errors import InputError

LORENZ = SYSTEMS["lorenz"]


def stored(made, path):
    write(made, path)
    return path


def test_netcdf_and_plain_variables_are_accepted(tmp_path):
    made = dataset("lorenz")[["x", "t", "params"]].drop_vars(["component", "param"])
    made.attrs.clear()
    made.to_netcdf(tmp_path / "some.nc")
    data = read(tmp_path / "some.nc", LORENZ, 5)
    assert np.array_equal(data.x.numpy(), made["x"].values)
    assert list(read_parameters(tmp_path / "some.nc", LORENZ)) == ["sigma", "rho", "beta"]


def test_a_single_component_needs_no_axis(tmp_path):
    made = dataset("pendulum").isel(component=0, drop=True)
    data = read(stored(made, tmp_path / "s"), SYSTEMS["pendulum"], 5)
    assert data.x.shape == (12, 30, 1)


def test_parameters_are_not_needed(tmp_path):
    path = stored(dataset("lorenz").drop_vars("params"), tmp_path / "s")
    assert len(read(path, LORENZ, 5)) == 12
    assert read_parameters(path, LORENZ) is None


def test_parameters_are_found_by_name(tmp_path):
    made = dataset("lorenz").isel(param=[2, 0, 1])
    found = read_parameters(stored(made, tmp_path / "s"), LORENZ)
    assert np.array_equal(found["sigma"].numpy(), dataset("lorenz")["params"][:, 0].values)


def broken(kind):
    made = dataset("lorenz").copy(deep=True)
    if kind == "nan":
        made["x"][3, 4, 1] = np.nan
    elif kind == "times":
        made["t"][2, 5] = made["t"][2, 4]
    elif kind == "shape":
        made = made.isel(component=[0, 1])
    elif kind == "lengths":
        made["t"] = made["t"].isel(time=slice(0, 5)).rename(time="other")
    elif kind == "missing":
        made = made.drop_vars("t")
    elif kind == "short":
        made = made.isel(time=slice(0, 6))
    elif kind == "system":
        made.attrs["system"] = "rlc"
    return made


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("nan", "trajectory 3 has values that are not finite"),
        ("times", "times of trajectory 2 do not increase"),
        ("shape", "lorenz wants x of"),
        ("lengths", "lorenz wants x of"),
        ("missing", "has no variable t"),
        ("short", "6 frames per trajectory; the window needs 11"),
        ("system", "trajectories of rlc, not of lorenz"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(kind, words, tmp_path):
    path = stored(broken(kind), tmp_path / "s")
    with pytest.raises(InputError, match=words) as refusal:
        read(path, LORENZ, 11)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_what_is_no_store_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not there"):
        read(tmp_path / "none", LORENZ, 5)
    (tmp_path / "text.nc").write_text("no netcdf")
    with pytest.raises(InputError, match="not a readable NetCDF file"):
        read(tmp_path / "text.nc", LORENZ, 5)


def test_wrong_parameters_are_refused(tmp_path):
    made = dataset("lorenz").isel(param=[0, 1])
    with pytest.raises(InputError, match="params"):
        read_parameters(stored(made, tmp_path / "s"), LORENZ)
