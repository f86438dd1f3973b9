"""Groups of arrays as xarray opens them, let in by one door: our own sealed, others' as numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from xarray.backends import ZarrStore

from vgbdm.errors import InputError
from vgbdm.storage.absent import Complete, numeric_fills, sentinel_of
from vgbdm.storage.door import METADATA, open_foreign
from vgbdm.storage.formats import kind_of
from vgbdm.storage.lengths import cut_off
from vgbdm.storage.sealed import Sealed
from vgbdm.storage.sealing import MANIFEST, read_manifest


def open_group(path: Path, kind: str, remedy: str, **options: Any) -> xr.Dataset:
    """A Zarr group as a lazy dataset.

    What has a manifest is compared with it as it is read; what has none is somebody else's: there
    an absent chunk is refused, unless it reads as NaN, and of a fill value of Zarr v2, which says
    both what is absent and what is missing, only a sentinel is no value. Ours that lost its
    manifest alone reads right as well, and its missing chunks read as NaN.

    Args:
        path: of the group.
        kind: of the manifest.
        remedy: what to do about a damaged one.
        options: of `xarray.open_dataset`.

    Raises:
        InputError: one line, if it is no Zarr group, damaged, or may not be decoded.
    """
    try:
        if (path / MANIFEST).exists():
            folder = Sealed(path, read_manifest(path, kind, remedy), remedy)
            if folder.read(METADATA[0]) is None:
                raise InputError(f"{path}: holds no Zarr group; {remedy}")
            # without Dask: of what says that it has a billion chunks, as many tasks would be made
            store: Any = folder.store()  # of which xarray has no type
            return xr.open_dataset(
                store, engine="zarr", zarr_format=3, consolidated=False, chunks=None,
                cache=False, **options,
            )  # fmt: skip
        return _open_foreign(path, **options)
    except InputError:
        raise
    except Exception as error:  # libraries raise many kinds
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise InputError(f"{path}: no Zarr store that can be opened ({reason}); {remedy}") from None


def _open_foreign(path: Path, **options: Any) -> xr.Dataset:
    """A Zarr group of others."""
    store, _, version = open_foreign(str(path))  # at the root of its folder
    arrays = dict(zarr.open_group(store, mode="r", use_consolidated=False).arrays())
    held = ZarrStore.open_group(
        Complete(store, str(path), numeric_fills(arrays)), mode="r", zarr_format=version,
        consolidated=False,
        use_zarr_fill_value_as_mask=False,  # which xr.open_dataset does not hand on
    )  # fmt: skip
    plain = xr.open_dataset(held, chunks=None, cache=False, decode_cf=False)
    for name, array in arrays.items():
        sentinel = sentinel_of(array)
        if name in plain.variables and sentinel is not None:
            plain[name].attrs.setdefault("_FillValue", sentinel)
    for variable in plain.variables.values():  # or a lead's own attribute of this name has no place
        variable.encoding.pop("dtype", None)
    return xr.decode_cf(plain, **options)


def open_netcdf(path: Path, remedy: str, **options: Any) -> xr.Dataset:
    """A NetCDF file as a lazy dataset of numbers; nothing else is taken for one.

    Args:
        path: of the file.
        remedy: what to do about a damaged one.
        options: of `xarray.open_dataset`.

    Raises:
        InputError: one line, if it is no such file, is cut off, or holds other things than numbers
            and text.
    """
    if not path.is_file():
        raise InputError(f"{path}: is no regular file; {remedy}")
    short = cut_off(path)
    if short:
        raise InputError(f"{path}: {short}; {remedy}")
    try:
        dataset = xr.open_dataset(path, engine="netcdf4", cache=False, **options)
    except Exception as error:  # libraries raise many kinds
        raise InputError(f"{path}: {_why_closed(path, error)}; {remedy}") from None
    for name, variable in dataset.variables.items():
        if (
            variable.dtype == object
            and np.dtype(variable.encoding.get("dtype", object)).kind == "O"
        ):
            raise InputError(f"{path}: {name} holds objects, which are not read; leave it out")
    return dataset


def _why_closed(path: Path, error: Exception) -> str:
    """What keeps a file from being opened as NetCDF.

    Raises:
        InputError: for a file of another kind or with times of no number, with what to do.
    """
    told = getattr(error, "strerror", None) or str(error)
    reason = (told.splitlines() or [""])[0] or type(error).__name__
    if "decode time" in reason:
        said = reason.partition(". Try")[0]
        raise InputError(
            f"{path}: {said}; give each time as a number of hours or days since a date"
        ) from None
    kind = kind_of(path)
    if kind != "netcdf":
        raise InputError(f"{path}: {ELSE[kind]}") from None
    return f"not a readable NetCDF file ({reason})"


ELSE = {"zip": "is a ZIP archive; unzip it", "grib": "is GRIB; give NetCDF or Zarr"}
"""What is not NetCDF by its first bytes, though something else reads it."""
