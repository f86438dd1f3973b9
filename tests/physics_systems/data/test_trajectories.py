"""What a store of trajectories may hold, and the one line that refuses the rest."""

import json
from dataclasses import replace

import numpy as np
import pytest
from gadgets import PICKLED, edit_3, ran, runs, write_2  # noqa: F401
from refusals import refused
from seals import reseal
from system_fields import SYSTEMS, dataset

from physics_systems.data.trajectories import (
    describe_system,
    load_trajectories,
    read_parameters,
    write,
)
from vgbdm.errors import InputError

LORENZ = SYSTEMS["lorenz"]


def stored(made, path):
    write(made, path)
    return path


def test_netcdf_and_plain_variables_are_accepted(tmp_path):
    made = dataset("lorenz")[["x", "t", "params"]].drop_vars(["component", "param"])
    made.attrs.clear()
    made.to_netcdf(tmp_path / "some.nc")
    data = load_trajectories(tmp_path / "some.nc", LORENZ, 5)
    assert np.array_equal(data.x.numpy(), made["x"].values)
    assert list(read_parameters(tmp_path / "some.nc", LORENZ)) == ["sigma", "rho", "beta"]


def test_a_single_component_needs_no_axis(tmp_path):
    made = dataset("pendulum").isel(component=0, drop=True)
    data = load_trajectories(stored(made, tmp_path / "s"), SYSTEMS["pendulum"], 5)
    assert data.x.shape == (12, 30, 1)


def test_parameters_are_not_needed(tmp_path):
    path = stored(dataset("lorenz").drop_vars("params"), tmp_path / "s")
    assert len(load_trajectories(path, LORENZ, 5)) == 12
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
        load_trajectories(path, LORENZ, 11)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_what_is_no_store_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not there"):
        load_trajectories(tmp_path / "none", LORENZ, 5)
    (tmp_path / "text.nc").write_text("no netcdf")
    with pytest.raises(InputError, match="is a text"):
        load_trajectories(tmp_path / "text.nc", LORENZ, 5)


def test_frames_that_were_never_written_are_refused(tmp_path):
    """NetCDF's fill was trained on, until a loss was not finite."""
    made = dataset("lorenz")[["x", "t"]].drop_vars("component").astype("f8")
    made["x"][2, -1] = 9.969209968386869e36
    made.to_netcdf(tmp_path / "some.nc")
    with pytest.raises(InputError, match=r"trajectory 2 has values that are not finite \(1 such\)"):
        load_trajectories(tmp_path / "some.nc", LORENZ, 5)


def test_wrong_parameters_are_refused(tmp_path):
    made = dataset("lorenz").isel(param=[0, 1])
    with pytest.raises(InputError, match="params"):
        read_parameters(stored(made, tmp_path / "s"), LORENZ)


@pytest.mark.parametrize(
    "name", ["x/c/0/0/0", "t/c/0/0", "params/c/0/0", "x/zarr.json", "zarr.json"]
)
def test_a_flipped_bit_and_a_missing_file_are_named(tmp_path, name):
    path = stored(dataset("lorenz"), tmp_path / "s")
    file, whole = path / name, (path / name).read_bytes()
    for at in (0, len(whole) // 2, len(whole) - 1):
        flipped = bytearray(whole)
        flipped[at] ^= 4
        file.write_bytes(flipped)
        refused(
            lambda: (load_trajectories(path, LORENZ, 5), read_parameters(path, LORENZ)),
            name,
            "is damaged",
        )
    file.unlink()
    refused(
        lambda: (load_trajectories(path, LORENZ, 5), read_parameters(path, LORENZ)),
        name,
        "is missing",
    )


def test_what_is_missing_in_somebody_elses_is_noticed(tmp_path):
    path = stored(dataset("lorenz"), tmp_path / "s")
    (path / "manifest.json").unlink()
    assert len(load_trajectories(path, LORENZ, 5)) == 12
    (path / "x/c/0/0/0").unlink()
    refused(
        lambda: load_trajectories(path, LORENZ, 5), "trajectory 0 has values that are not finite"
    )


@pytest.mark.parametrize("name", ["x", "t", "component"])
@pytest.mark.parametrize("ours", [True, False])
def test_a_gadget_does_not_run(tmp_path, ran, name, ours):  # noqa: F811
    path = stored(dataset("lorenz"), tmp_path / "s")
    edit_3(path / name, codecs=PICKLED)
    reseal(path) if ours else (path / "manifest.json").unlink()
    refused(
        lambda: load_trajectories(path, LORENZ, 5), f"{name}/zarr.json", "codec 'numcodecs.pickle'"
    )
    assert not ran


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["x", "t"])
def test_a_gadget_in_version_2_does_not_run(tmp_path, ran, name):  # noqa: F811
    made = dataset("lorenz")[["x", "t"]].drop_vars(["component"])
    made.to_zarr(tmp_path / "s", zarr_format=2, consolidated=False)
    assert len(load_trajectories(tmp_path / "s", LORENZ, 5)) == 12
    write_2(tmp_path / "s" / name, made[name].shape)
    assert runs(tmp_path / "s" / name, ran), "the gadget is none"
    refused(lambda: load_trajectories(tmp_path / "s", LORENZ, 5), name, "'|O'")
    assert not ran


def test_an_array_that_memory_cannot_hold_is_refused(tmp_path):
    path = stored(dataset("lorenz")[["x", "t"]], tmp_path / "s")
    for name, shape in (("x", [10**9, 10**4, 3]), ("t", [10**9, 10**4])):
        edit_3(path / name, shape=shape)
    reseal(path)
    refused(
        lambda: load_trajectories(path, LORENZ, 5),
        "x is float32 of (1000000000, 10000, 3)",
        "at most",
    )


def test_a_system_is_described_alike_whatever_the_order_of_its_options():
    system = SYSTEMS["rlc"]
    turned = replace(system, ranges=dict(reversed(system.ranges.items())))
    assert list(turned.ranges) != list(system.ranges)
    text = describe_system(system)
    assert describe_system(turned) == text and "presets" not in json.loads(text)
    assert json.loads(text)["ranges"]["L"] == [1, 3]
