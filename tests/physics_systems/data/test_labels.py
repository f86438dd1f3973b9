"""Trajectory files by the names of their axes, the labels of components, the unit of times."""

import numpy as np
import pytest
import xarray as xr
from system_fields import SYSTEMS, dataset

from physics_systems.data.trajectories import load_trajectories, read_parameters, write
from vgbdm.errors import InputError

LORENZ, FIELD = SYSTEMS["lorenz"], SYSTEMS["reaction_diffusion"]


def to_netcdf(made, path):
    """Labels as plain strings: xarray 2025.1 writes no others."""
    plain = {name: made[name].astype(str) for name in made.coords if made[name].dtype.kind == "O"}
    made.assign_coords(plain).to_netcdf(path)


def loaded(made, tmp_path, system=LORENZ):
    to_netcdf(made, tmp_path / "some.nc")
    return load_trajectories(tmp_path / "some.nc", system, 5)


def same(data, want):
    return np.array_equal(data.x.numpy(), want["x"].values) and np.allclose(data.t, want["t"])


@pytest.mark.parametrize("kind", ["nc", "zarr"])
def test_components_are_ordered_by_their_labels(tmp_path, kind):
    want = dataset("lorenz")
    mixed = want.isel(component=[2, 0, 1])
    (to_netcdf if kind == "nc" else write)(mixed, tmp_path / "some.nc")
    assert same(load_trajectories(tmp_path / "some.nc", LORENZ, 5), want)


@pytest.mark.parametrize("name", ["variable", "state"])
def test_labels_count_whatever_their_dimension_is_called(tmp_path, name):
    """Such as `to_array` makes; the order was believed, and x taken for z."""
    want = dataset("lorenz")
    mixed = want.isel(component=[2, 0, 1], param=[2, 1, 0])
    made = mixed.rename(component=name, param="parameter")
    assert same(loaded(made, tmp_path), want)
    found = read_parameters(tmp_path / "some.nc", LORENZ)
    for k, parameter in enumerate(LORENZ.parameters):
        assert np.array_equal(found[parameter].numpy(), want["params"].values[:, k])


def test_labels_that_are_no_index_count_too(tmp_path):
    want = dataset("lorenz")
    mixed = want.isel(component=[2, 0, 1])
    names = ("component", [str(label) for label in mixed["component"].values])
    units = ("component", ["m", "m", "s"])
    made = mixed.drop_vars("component").assign_coords(name=names, unit=units)
    assert same(loaded(made, tmp_path), want)


def test_labels_in_small_letters_and_padded(tmp_path):
    want = dataset("lorenz")
    mixed = want.isel(component=[1, 2, 0]).assign_coords(component=["y ", "z ", "x "])
    assert same(loaded(mixed, tmp_path), want)


def test_numbers_in_their_order_are_no_labels(tmp_path):
    want = dataset("lorenz")
    assert same(loaded(want.assign_coords(component=[1, 2, 3]), tmp_path), want)


@pytest.mark.parametrize("labels", [["A", "B", "C"], ["X", "X", "Z"], [2, 1, 0]])
def test_labels_of_another_system_are_refused(tmp_path, labels):
    made = dataset("lorenz").assign_coords(component=labels)
    with pytest.raises(InputError, match=r"some.nc: x is of the components .* wanted are X, Y, Z"):
        loaded(made, tmp_path)


@pytest.mark.parametrize("name", ["lorenz", "reaction_diffusion"])
def test_axes_are_found_by_their_names(tmp_path, name):
    want = dataset(name)
    turned = want.transpose(*reversed(want["x"].dims), "param")
    assert turned["x"].dims == tuple(reversed(want["x"].dims))
    assert same(loaded(turned, tmp_path, SYSTEMS[name]), want)
    found = read_parameters(tmp_path / "some.nc", SYSTEMS[name])
    for k, parameter in enumerate(SYSTEMS[name].parameters):
        assert np.array_equal(found[parameter].numpy(), want["params"].values[:, k])


def test_axes_of_other_names_are_believed_in_place_and_refused_out_of_it(tmp_path):
    want = dataset("lorenz").rename(trajectory="run", component="part").drop_vars("part")
    (tmp_path / "a").mkdir()
    assert same(loaded(want, tmp_path / "a"), want)
    with pytest.raises(InputError, match="rename run"):
        loaded(want.transpose("time", "run", "part", "param"), tmp_path)


def test_one_clock_serves_all_trajectories(tmp_path):
    want = dataset("lorenz")
    one = want.assign(t=("time", np.linspace(0, 2, want.sizes["time"])))
    data = loaded(one, tmp_path)
    assert data.t.shape == data.x.shape[:2] and float(data.t[-1, -1]) == 2.0


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("seconds", 1.0), ("s", 1.0), ("milliseconds", 1e-3), ("minutes", 60.0), ("1", 1.0),
     ("seconds since 2000-01-01", 1.0)],
)  # fmt: skip
def test_times_with_a_unit_are_seconds(tmp_path, unit, factor):
    want = dataset("lorenz")
    data = loaded(want.assign(t=(want["t"] / factor).assign_attrs(units=unit)), tmp_path)
    assert same(data, want)


def test_a_unit_of_something_else_is_refused(tmp_path):
    made = dataset("lorenz")
    with pytest.raises(InputError, match="t is in 'metres', which is no unit of time; write it in"):
        loaded(made.assign(t=made["t"].assign_attrs(units="metres")), tmp_path)


def test_stores_hold_no_fill_value_that_older_readers_stumble_over(tmp_path):
    write(dataset("lorenz"), tmp_path / "s")
    for name in ("x", "t", "params"):
        assert "_FillValue" not in (tmp_path / "s" / name / "zarr.json").read_text()


@pytest.mark.parametrize("name", ["order", "seconds", "one_clock"])
def test_the_reported_files_are_read_alike(case, name):
    folder = case("lorenz_labelled")
    want, data = (load_trajectories(folder / f"{n}.nc", LORENZ, 5) for n in ("plain", name))
    assert np.array_equal(data.x, want.x) and np.allclose(data.t, want.t)
    with xr.open_dataset(folder / "plain.nc") as plain:
        assert np.array_equal(data.x, plain["x"])
