"""What short names mean: with a level and without, and what is said of strangers."""

import pytest

from climate.conventions.variables import (
    channel_attributes,
    channel_unit,
    is_geopotential,
    is_state,
    known_channel,
    level_of,
    pressure_of,
)


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("z", "m2 s-2"), ("z500", "m2 s-2"), ("t_850", "K"), ("t2m", "K"), ("u10", "m s-1"),
        ("v10", "m s-1"), ("u1000", "m s-1"), ("v", "m s-1"), ("q500", None), ("tp", None),
        ("z500x", None), ("u_", None), ("orography", None),
    ],
)  # fmt: skip
def test_channels_are_known_by_their_names_with_a_level_or_without(name, unit):
    assert channel_unit(name) == unit and is_state(name) == (unit is not None)
    assert (known_channel(name) is None) == (unit is None)


def test_metres_mean_height_of_geopotential_and_of_the_ground_alone():
    names = ("z", "z500", "z_1000", "orography", "t", "t2m", "u500", "v10", "tp", "lsm")
    assert [is_geopotential(name) for name in names] == [True] * 4 + [False] * 6


def test_a_channel_keeps_what_its_file_says_and_gets_what_is_known():
    own = {"units": "degC", "long_name": "", "history": "made", "standard_name": None}
    assert channel_attributes("t850", own) == {
        "long_name": "temperature", "standard_name": "air_temperature", "units": "degC",
    }  # fmt: skip
    assert channel_attributes("q", {}) == {"long_name": "q", "units": "1"}
    assert channel_attributes("q", {"long_name": "humidity"})["long_name"] == "humidity"


def test_a_channel_lies_at_the_level_of_its_name_or_near_the_ground():
    names = ("z500", "u_850", "q70", "v1000", "z", "t", "t2m", "u10", "v10", "u", "tp24", "q0")
    ground = 1013.25
    expected = [500, 850, 70, 1000, 500, 850, *[ground] * 6]
    assert [pressure_of(name) for name in names] == expected


def test_levels_of_a_variable_share_its_name():
    names = ("z500", "z_850", "z", "t", "q70", "t2m", "u10", "tp", "q0")
    expected = [("z", 500), ("z", 850), ("z", 500), ("t", 850), ("q", 70), *[None] * 4]
    assert [level_of(name) for name in names] == expected
