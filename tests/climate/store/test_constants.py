"""A channel that does not vary in training is refused, by conversion and by `check`."""

from dataclasses import replace

import builders
import numpy as np
import pytest
from builders import ABOUT, CASE_SPLITS, LAT, LON, SPLITS, hours, write_variable
from entry import compose_config

from climate.conversion.convert import convert
from climate.sources.opening import open_source
from climate.store.layout import open_store
from climate.training.preflight import check_statistics
from vgbdm.errors import InputError

TIMES = hours("2016-01-01", 80, 6)
KIND = {
    "one number": (np.full((80, 8, 16), 7.3, np.float32), "v10 is 7.3 all through training"),
    "a fixed map": (
        np.tile(builders.waves(TIMES[:1], 2), (80, 1, 1)),
        "v10 does not change from step to step",
    ),
}


def convert_again(files, store, variables, splits=SPLITS, **options):
    dataset = builders.source(files, variables).open()
    convert(dataset, store, splits, source=ABOUT, scheduler="synchronous", **options)


@pytest.mark.parametrize("kind", KIND)
def test_it_is_refused_and_leaving_it_out_works(tmp_path, kind):
    values, words = KIND[kind]
    write_variable(tmp_path, "u10", TIMES)
    write_variable(tmp_path, "v10", TIMES, values=values)
    with pytest.raises(InputError, match=words) as caught:
        convert_again(tmp_path, tmp_path / "s", ("u10", "v10"))
    message = str(caught.value)
    assert "variables=[u10]" in message and "restart=true" in message and "\n" not in message
    convert_again(tmp_path, tmp_path / "s", ("u10",), restart=True)
    assert open_store(tmp_path / "s").channels == ("u10",)


def test_a_longer_training_works(tmp_path):
    values = builders.waves(TIMES, 3)
    values[:24] = 0.0
    write_variable(tmp_path, "v10", TIMES, values=values)
    short = SPLITS | {"train": ["2016-01-01", "2016-01-06"]}
    with pytest.raises(InputError, match=r"restart=true: lengthen split\.train"):
        convert_again(tmp_path, tmp_path / "s", ("v10",), short)
    convert_again(tmp_path, tmp_path / "s", ("v10",), restart=True, odd_maps="keep")


def test_small_variations_are_variations(tmp_path):
    assert LAT.size * LON.size == 128
    values = (1e-9 * (1 + builders.waves(TIMES, 3) ** 2)).astype(np.float32)
    write_variable(tmp_path, "v10", TIMES, values=values)
    convert_again(tmp_path, tmp_path / "s", ("v10",))


def test_check_refuses_a_store_that_holds_one(store):
    check_statistics(store)
    still = np.where(np.arange(3) == 1, 0.0, store.statistics.tendency_std)
    held = replace(store, statistics=replace(store.statistics, tendency_std=still))
    with pytest.raises(InputError, match=r"u10 does not change.*variables=\[z,v10\]"):
        check_statistics(held)


def test_dry_training(case, tmp_path):
    told = [
        "store=s", "source=cf_files", f"source.root={case('dry_training')}",
        "variables=[u10,v10,tp]", "+source.fields.tp={name: tp}",
    ]  # fmt: skip
    dataset, about = open_source(compose_config("convert_era5", told))
    with pytest.raises(InputError, match=r"tp is 0 all through training.*variables=\[u10,v10\]"):
        convert(dataset, tmp_path / "s", CASE_SPLITS, source=about, scheduler="synchronous")
