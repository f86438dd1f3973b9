"""Files are named for what they are by their first bytes, with what to do about them."""

import bz2
import gzip
import io
import lzma
import tarfile

import pytest
from archives import cf_source
from refusals import refused


def tarball() -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as file:
        file.addfile(tarfile.TarInfo("a.nc"), io.BytesIO())
    return held.getvalue()


PAGE = b"""\n<!DOCTYPE html><html><head><TITLE>504
  Gateway Time-out</TITLE></head></html>"""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty; fetch it again"),
        (PAGE, "is a web page (504 Gateway Time-out), not data; fetch it again"),
        (b"<?xml version='1.0'?><Error/>", "is a web page, not data; fetch it again"),
        (b"\xef\xbb\xbf<html>" + "é".encode() * 2000, "is a web page, not data; fetch it again"),
        (b'{"title": "Authentication failed"}\r\n',
         'is a text ({"title": "Authentication failed"}), not data; fetch it again'),
        (b"word " * 999, f"is a text ({' '.join(['word'] * 12)} …), not data; fetch it again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "by git lfs pull"),
        (gzip.compress(b"CDF\x01" * 9), "is compressed by gzip; gunzip it"),
        (bz2.compress(b"CDF\x01" * 9), "is compressed by bzip2; bunzip2 it"),
        (lzma.compress(b"CDF\x01" * 9), "is compressed by xz; unxz it"),
        (tarball(), "is a tar archive; untar it"),
        (b"\x0e\x03\x13\x01" + bytes(99), "is an HDF4 file; convert it first"),
        (b"BUFR" + bytes(99), "holds observations (BUFR)"),
        (b"\x89HDF\r\n\x1a\n cut", "is cut off in its header, after 12 bytes; fetch it again"),
        (b"CDF\x01" + bytes(12), "is cut off in its header, after 16 bytes; fetch it again"),
        (bytes(99), "not a readable NetCDF file (NetCDF: Unknown file format)"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)  # fmt: skip
def test_other_things_named_nc(tmp_path, content, words):
    (tmp_path / "a.nc").write_bytes(content)
    refused(lambda: cf_source(tmp_path, pattern=None).open(), "a.nc: ", words)


def test_a_folder_and_a_link_to_nowhere_named_nc(tmp_path):
    (tmp_path / "a.nc").mkdir()
    (tmp_path / "b.nc").symlink_to(tmp_path / "none")
    refused(lambda: cf_source(tmp_path).open(), "no file **/*.nc")


def test_nothing_in_it(tmp_path):
    import xarray as xr

    xr.Dataset(attrs={"title": "none"}).to_netcdf(tmp_path / "a.nc")
    refused(lambda: cf_source(tmp_path).open(), "a.nc: holds no variables; fetch it again, or move")
