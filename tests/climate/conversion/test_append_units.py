"""What is appended comes in the store's units."""

import builders
import numpy as np
import pytest
from archives import archive, write_zarr, zarr_source
from builders import ABOUT, SPLITS, convert_files, hours, source, write_folder, write_variable
from seals import manifest_of, rewrite

from climate.conversion.append import append
from climate.conversion.convert import convert
from climate.store.layout import open_store
from vgbdm.errors import InputError

LATER = hours("2016-01-21", 24)
SERIAL = {"source": ABOUT, "scheduler": "synchronous"}


def add(root, path, **units):
    """Append a day, some of it as if it were in other units: a jump, which is kept."""
    for name in ("z", "u10", "v10"):
        write_variable(
            root, name, LATER, file="2017", **({"units": units[name]} if name in units else {})
        )
    append(source(root).open(), path, SPLITS, **SERIAL, odd_maps="keep")


def relabel(path, name, unit):
    attributes = manifest_of(path)["channel_attrs"]
    attributes[name]["units"] = unit
    rewrite(path, channel_attrs=attributes)


@pytest.fixture
def made(tmp_path):
    root = write_folder(tmp_path / "files")
    convert_files(root, tmp_path / "store")
    return root, tmp_path / "store"


def test_files_in_knots_are_appended_in_metres_per_second(made):
    add(*made, u10="knots")
    last = open_store(made[1]).read(480, 504)
    assert np.allclose(last[:, 1], 0.514444 * builders.waves(LATER, 2), atol=1e-3)
    assert np.array_equal(last[:, 2], builders.waves(LATER, 3))
    begun, finished = (made[1] / "convert.log").read_text().splitlines()[-2:]
    assert " append begun: " in begun and finished.endswith(" append finished: 504 times")


def test_a_store_in_another_unit_keeps_it(made):
    relabel(made[1], "u10", "knots")
    add(*made)
    last = open_store(made[1]).read(480, 504)
    assert np.allclose(last[:, 1], builders.waves(LATER, 2) / 0.514444, atol=1e-3)
    assert np.array_equal(last[:, 0], builders.waves(LATER, 0))


def test_another_quantity_is_refused(made):
    relabel(made[1], "u10", "Pa")
    with pytest.raises(
        InputError, match=r"u10 to be appended is in 'm s-1'.* Pa; append data in Pa"
    ):
        add(*made)


def test_a_channel_nobody_knows_is_appended_in_the_stores_unit(tmp_path):
    fields = {"q": {"name": "2m_temperature"}}
    times = hours("2016-01-01", 504)
    for k, (part, unit, factor) in enumerate(((times[:480], "Pa", 1.0), (times, "hPa", 0.01))):
        content = archive(part)
        content["2m_temperature"] = (factor * content["2m_temperature"]).assign_attrs(units=unit)
        root = write_zarr(content, tmp_path / f"{k}.zarr")
        dataset = zarr_source(root, ("q",), fields=fields, static={}).open()
        (convert if not k else append)(dataset, tmp_path / "store", SPLITS, **SERIAL)
    last = open_store(tmp_path / "store").read(480, 504)[:, 0]
    assert np.allclose(last, builders.warm(times[480:], 3), rtol=1e-5, atol=1e-5)


def test_a_stopped_conversion_is_not_continued_in_another_unit(tmp_path, monkeypatch):
    root = write_folder(tmp_path / "files")

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("climate.conversion.convert.write_shards", stop)
        convert_files(root, tmp_path / "store")
    write_variable(root, "u10", hours("2016-01-01", 480), units="knots")
    with pytest.raises(InputError, match="a conversion with other units was begun here"):
        convert_files(root, tmp_path / "store")
