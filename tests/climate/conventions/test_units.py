"""Units: what is read, what converts to what, and what is refused."""

import shlex

import numpy as np
import pytest
from entry import compose_config

from climate.conventions.units import Conversion, conversion, find_conversion, readable, setting
from climate.conventions.variables import channel_unit
from vgbdm.errors import InputError

GIVEN = ["source.root=a", "store=b"]


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("m**2 s**-2", "m2 s-2"), ("m2/s2", "m2 s-2"), ("J kg**-1", "m2 s-2"), ("Kelvin", "K"),
        ("degK", "K"), ("deg K", "K"), ("m s**-1", "m s-1"), ("(0 - 1)", "1"), ("(0-1)", "1"),
        ("~", "1"), ("-", "1"), ("Proportion", "1"), ("gpm", "m"), ("m of water equivalent", "m"),
        ("W m**-2", "W m-2"), ("kg kg**-1", "1"),
    ],
)  # fmt: skip
def test_spellings_that_mean_the_same(text, target):
    assert find_conversion(text, target) == Conversion()


@pytest.mark.parametrize("text", ["degC", "C", "deg C", "Celsius", "degrees Celsius", "degree C",
                                  "degrees_C", "°C", "degree_Celsius"])  # fmt: skip
def test_celsius_in_all_its_spellings_and_no_coulomb(text):
    change = find_conversion(text, "K")
    assert change == Conversion(1.0, 273.15)
    assert change(np.float32([-1.0, 0.0])) == pytest.approx([272.15, 273.15])
    assert find_conversion(text, "K", difference=True) == Conversion()


def test_other_units_of_the_same_quantity():
    for unit, factor in (
        ("knots", 0.514444),
        ("kt", 0.514444),
        ("km/h", 1 / 3.6),
        ("cm s-1", 0.01),
    ):
        assert find_conversion(unit, "m s-1").factor == pytest.approx(factor, rel=1e-5)
    assert find_conversion("degF", "K")(np.float32([32.0])) == pytest.approx([273.15])
    assert find_conversion("degF", "K", difference=True).factor == pytest.approx(5 / 9)
    assert find_conversion("%", "1").factor == pytest.approx(0.01)
    assert find_conversion("mb", "Pa").factor == pytest.approx(100.0)


def test_rates_have_no_offset():
    assert find_conversion("degC day-1", "K s-1").factor == pytest.approx(1 / 86400)
    assert find_conversion("degC day-1", "K s-1").offset == 0.0


def test_heights_become_geopotential_only_where_that_is_meant():
    assert find_conversion("gpm", "m2 s-2") is None
    assert find_conversion("gpm", "m2 s-2", height=True).factor == pytest.approx(9.80665)
    assert find_conversion("dam", "m2 s-2", height=True).factor == pytest.approx(98.0665)
    assert find_conversion("m**2 s**-2", "m", height=True).factor == pytest.approx(1 / 9.80665)
    assert find_conversion("m", "m", height=True) == Conversion()


@pytest.mark.parametrize("text", ["furry", "unknown", "", "days since 2000-01-01", "M/S"])
def test_texts_that_are_no_units(text):
    assert not readable(text)
    with pytest.raises(InputError, match="which is no unit; mend it"):
        conversion(text, "K", what="a.nc: t", remedy="mend it")


@pytest.mark.parametrize(
    ("unit", "target"),
    [("K", "m s-1"), ("Pa", "K"), ("degrees", "1"), ("radian K", "K"), ("lg(re 1 mW)", "W")],
)
def test_other_quantities_do_not_convert(unit, target):
    assert find_conversion(unit, target) is None


@pytest.mark.parametrize("unit", ["K", "m s-1", "m**2 s**-2", "(0 - 1)", "%", "1", "~"])
def test_a_setting_is_taken_by_the_shell_and_the_configuration(unit):
    for name in ("z", "q"):
        new = ["+source.fields.q={name: q}"] if name == "q" else []
        [text] = shlex.split(setting(f"source.fields.{name}.units", unit))
        cfg = compose_config("convert_era5", ["source=cf_files", *GIVEN, *new, text])
        assert str(cfg.source.fields[name].units) == unit


@pytest.mark.parametrize("source", ["cf_files", "weatherbench", "weatherbench2"])
def test_units_of_every_shipped_field_can_be_said(source):
    for name in ("z", "t", "t2m", "u10", "v10"):
        cfg = compose_config(
            "convert_era5", [f"source={source}", *GIVEN, f"source.fields.{name}.units=K"]
        )
        assert cfg.source.fields[name].units == "K"


def test_names_with_a_level_are_known():
    known = {"z500": "m2 s-2", "t_850": "K", "u250": "m s-1", "v100": "m s-1", "t2m": "K"}
    assert {name: channel_unit(name) for name in known} == known
    assert [channel_unit(name) for name in ("q", "q700", "tp", "zz", "v10m")] == [None] * 5
