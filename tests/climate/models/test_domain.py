"""Names and units of vectors are held against the store's channels."""

from dataclasses import replace

import numpy as np
import pytest

from climate.models.domain import Domain
from climate.models.vectors import read_vectors
from vgbdm.errors import InputError

SIX = np.timedelta64(6, "h")


def refused(store, vectors, *words):
    with pytest.raises(InputError) as caught:
        read_vectors(vectors, store)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def in_units(store, **units):
    attrs = {
        n: a | ({"units": units[n]} if n in units else {}) for n, a in store.channel_attrs.items()
    }
    return replace(store, channel_attrs=attrs)


def test_pairs_that_are_held(store):
    assert read_vectors([["u10", "v10"]], store) == (("u10", "v10"),)
    assert read_vectors([], store) == ()
    assert Domain.from_store(store, SIX, [["u10", "v10"]], 1).variables == ((0,), (1, 2))


@pytest.mark.parametrize("pair", [["u10", "v11"], ["u11", "v10"], ["us", "vs"], ["u10", "Z"]])
def test_a_name_that_is_no_channel(store, pair):
    refused(store, [pair], "is no channel of", "which holds z, u10, v10", "vectors=[]")


def test_known_winds_that_the_store_does_not_hold_are_left_out(store, caplog):
    calm = replace(store, channels=("z",))
    assert read_vectors([["u10", "v10"]], calm) == () and not caplog.text
    assert read_vectors([["u10", "v10"]], replace(store, channels=("z", "u10"))) == ()
    assert "[u10, v10] is left out" in caplog.text and "holds no v10" in caplog.text


def test_what_is_no_vector(store):
    refused(store, [["u10"]], "is no pair")
    refused(store, [["u10", "v10", "z"]], "is no pair")
    refused(store, [["v10", "u10"]], "eastward part first")
    refused(store, [["u10", "v10"], ["u10", "v10"]], "name it once")
    refused(store, [["z", "z"]], "name it once")


def test_units_of_the_parts(store):
    refused(in_units(store, u10="knots"), [["u10", "v10"]], "u10 is in knots, v10 in m s-1")
    both = in_units(store, u10="knots", v10="knots")
    refused(both, [["u10", "v10"]], "in knots, but limits and physics are in m s-1")
    assert read_vectors([["u10", "v10"]], in_units(store, u10="m/s", v10="m s**-1"))
    assert read_vectors([["u10", "v10"]], in_units(store, u10="kg m-1 s-1", v10="kg m-1 s-1"))


def test_the_wind_of_a_model_is_a_vector_of_the_state(store):
    domain = Domain.from_store(store, SIX, [["u10", "v10"]], 1)
    assert domain.holds_wind(("u10", "v10"))
    with pytest.raises(InputError, match="v11 is no channel; the state holds z, u10, v10"):
        domain.holds_wind(("u10", "v11"))
    assert not Domain.from_store(store, SIX, [], 1).holds_wind(("u10", "v10"))
