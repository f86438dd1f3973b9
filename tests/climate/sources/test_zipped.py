"""ZIP archives as the Climate Data Store hands them out, and as nobody should."""

import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from archives import archive, cf_source
from builders import SPLITS, hours, warm, waves
from gribs import message
from refusals import refused
from whole_way import forecast_of_files

from climate.sources import zipped

TIMES = hours("2016-01-01", 80, 6)
INSTANT = "data_stream-oper_stepType-instant.nc"


def netcdf(dataset) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        dataset.to_netcdf(f"{folder}/a.nc")
        return Path(f"{folder}/a.nc").read_bytes()


def pack(path, members, kind=zipfile.ZIP_DEFLATED):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", kind) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


@pytest.fixture(scope="module")
def small():
    return netcdf(archive(TIMES[:4]))


def opened(root, *variables):
    return cf_source(root, variables or ("z", "z8", "t2m"), pattern=None).open()


def test_several_files_in_one_archive_and_what_lies_beside_them(tmp_path):
    content = archive(TIMES[:8])
    path = pack(tmp_path / "a.zip", [
        (INSTANT, netcdf(content[["geopotential"]])),
        ("deeper/data_stream-oper_stepType-accum.nc", netcdf(content[["2m_temperature"]])),
        ("README.txt", "how to cite"), ("__MACOSX/._a.nc", b"\0\5\26\7"),
    ])  # fmt: skip
    dataset = opened(tmp_path)
    assert np.array_equal(dataset["z8"].values, waves(TIMES[:8], 2))
    assert np.array_equal(dataset["t2m"].values, warm(TIMES[:8], 3))
    assert list(tmp_path.iterdir()) == [path]


def test_grib_in_an_archive(tmp_path):
    maps = [message("2t", t, v) for t, v in zip(TIMES, warm(TIMES[:4], 3), strict=False)]
    pack(tmp_path / "a.zip", [("data.grib", b"".join(maps))])
    fields = {"t2m": {"name": "t2m"}}
    dataset = cf_source(tmp_path, ("t2m",), fields=fields, static={}, pattern="*.zip").open()
    assert np.abs(dataset["t2m"].values - warm(TIMES[:4], 3)).max() < 1e-4


def test_an_archive_is_unpacked_once_until_it_changes_and_not_beside_the_data(tmp_path, small):
    path = pack(tmp_path / "a.zip", [("a.nc", small)])
    first = zipped.unpack(path)
    assert zipped.unpack(path) is first
    (place,) = first.values()
    assert Path(tempfile.gettempdir()) in place.parents and place.read_bytes() == small
    pack(path, [("b.nc", small), ("c.nc", small)])
    assert len(zipped.unpack(path)) == 2


@pytest.mark.parametrize("pattern", ["b.zip", "ground.nc", "b.zip/*"])
def test_a_static_field_is_named_by_its_archive_or_its_place_there(tmp_path, pattern):
    content = archive(TIMES[:4])
    ground = netcdf(content[["land_sea_mask"]])
    other = netcdf(content[["land_sea_mask"]].map(lambda mask: 1 - mask))
    pack(tmp_path / "a.zip", [("a.nc", netcdf(content[["2m_temperature"]])), ("x.nc", other)])
    pack(tmp_path / "b.zip", [("ground.nc", ground)])
    static = {"lsm": {"name": "land_sea_mask"}}
    source = cf_source(tmp_path, ("t2m",), static=static, pattern=None)
    refused(source.open, "hold other values; say which file")
    source = cf_source(
        tmp_path, ("t2m",), static={"lsm": static["lsm"] | {"file": pattern}}, pattern=None
    )
    assert np.array_equal(source.open()["lsm"].values, content["land_sea_mask"].values.T)


def test_messages_name_the_place_in_the_archive(tmp_path, small):
    pack(tmp_path / "a.zip", [("x/a.nc", small[: len(small) // 2])])
    said = refused(lambda: opened(tmp_path), "a.zip/x/a.nc: is cut off")
    assert said.count("/a.nc") == 1
    pack(tmp_path / "a.zip", [("a.nc", small)])
    refused(lambda: opened(tmp_path, "z", "q"), "variable q is unknown")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../a.nc", "names '../a.nc', outside of itself"),
        ("/etc/a.nc", "names '/etc/a.nc', outside of itself"),
        ("a/../../a.nc", "outside of itself"),
        ("b\\..\\a.nc", "outside of itself"),
        ("b.zip", "a.zip/b.zip: is a ZIP archive inside of another; unzip the outer one"),
        ("data.csv", "is a ZIP archive of data.csv; want files of .nc"),
    ],
)
def test_hostile_nested_and_other_archives_are_one_line(tmp_path, small, name, words):
    inner = pack(tmp_path / "inner", [("a.nc", small)]).read_bytes()
    pack(tmp_path / "files/a.zip", [(name, inner if name == "b.zip" else small)])
    refused(lambda: opened(tmp_path / "files"), "a.zip", words)
    assert not (tmp_path / "a.nc").exists()


def test_the_same_name_twice(tmp_path, small):
    with pytest.warns(UserWarning, match="Duplicate name"):
        pack(tmp_path / "a.zip", [("a.nc", small), ("a.nc", small)])
    refused(lambda: opened(tmp_path), "holds a.nc twice")


def edit(path, **changes):
    """Change fields of the first entry of the directory: name → offset, bytes."""
    raw = bytearray(path.read_bytes())
    start = raw.index(b"PK\1\2")
    for at, new in changes.values():
        raw[start + at : start + at + len(new)] = new
    path.write_bytes(raw)


def test_encrypted(tmp_path, small):
    edit(pack(tmp_path / "a.zip", [("a.nc", small)]), flags=(8, b"\1\0"))
    refused(lambda: opened(tmp_path), "is encrypted; unzip it with its password")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, small, monkeypatch):
    monkeypatch.setattr(zipped, "_extract", lambda *_: pytest.fail("unpacked"))
    path = pack(tmp_path / "a.zip", [("a.nc", small)])
    edit(path, size=(24, (2**31).to_bytes(4, "little")))
    refused(lambda: opened(tmp_path), "to 2147483648 bytes, more than data do")
    monkeypatch.setattr(zipped, "FREELY", 2**62)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("U", (), {"free": 2**30}))
    refused(lambda: opened(tmp_path), "has 1073741824; unzip it, or let TMPDIR name a folder")


def test_files_that_lie_over_each_other(tmp_path, small):
    """As in a bomb whose files share their bytes."""
    path = pack(tmp_path / "a.zip", [("a.nc", small), ("b.nc", small)])
    whole = path.stat().st_size
    edit(path, packed=(20, (whole - 1).to_bytes(4, "little")))
    refused(lambda: opened(tmp_path), "its files lie over each other")


def test_more_bytes_than_it_says(tmp_path, small):
    edit(pack(tmp_path / "a.zip", [("a.nc", small)]), size=(24, (999).to_bytes(4, "little")))
    refused(lambda: opened(tmp_path), "is a ZIP archive that is damaged (")


@pytest.mark.parametrize("part", [0.5, 0.999])
def test_cut_off(tmp_path, small, part):
    path = pack(tmp_path / "a.zip", [("a.nc", small)])
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    refused(lambda: opened(tmp_path), "a.zip: is a ZIP archive that is damaged (", "fetch it again")


def test_damaged_inside(tmp_path, small):
    path = pack(tmp_path / "a.zip", [("a.nc", small)], zipfile.ZIP_STORED)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    refused(lambda: opened(tmp_path), "a.zip: is a ZIP archive that is damaged (Bad CRC-32")


def test_no_room(tmp_path, small, monkeypatch):
    pack(tmp_path / "a.zip", [("a.nc", small)])

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipped, "_extract", full)
    refused(lambda: opened(tmp_path), "cannot be unpacked into", "No space left", "TMPDIR")


def test_too_many_files(tmp_path, small, monkeypatch):
    monkeypatch.setattr(zipped, "MEMBERS", 1)
    pack(tmp_path / "a.zip", [("a.nc", small), ("b.txt", b"")])
    refused(lambda: opened(tmp_path), "holds 2 files")


def test_from_a_file_to_a_forecast(tmp_path):
    winds = archive(TIMES)[["geopotential", "2m_temperature"]].rename(geopotential="z")
    for k, name in enumerate(("u10", "v10")):
        winds[name] = (("time", "latitude", "longitude"), waves(TIMES, k), {"units": "m s**-1"})
    files = [(INSTANT, netcdf(winds[["u10", "v10"]])), ("z.nc", netcdf(winds[["z"]]))]
    pack(tmp_path / "FILES/download.zip", files)
    reading = ["variables=[z,u10,v10]", "source.fields.z.level=500"]
    made = forecast_of_files(tmp_path / "FILES/download.zip", tmp_path, SPLITS, reading)
    assert np.isfinite(made["u10"].values).all() and made.sizes["lead_time"] == 2
