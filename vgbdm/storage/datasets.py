"""Groups of arrays as xarray opens them, let in by one door: our own sealed, others' as numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from vgbdm.errors import InputError
from vgbdm.storage.door import METADATA, open_foreign
from vgbdm.storage.lengths import cut_off
from vgbdm.storage.sealed import Sealed
from vgbdm.storage.sealing import MANIFEST, read_manifest


def open_group(path: Path, kind: str, remedy: str, **options: Any) -> xr.Dataset:
    """A Zarr group as a lazy dataset.

    What has a manifest is compared with it as it is read; what has none is somebody else's. Ours
    that lost its manifest alone reads right as well, and its missing chunks read as NaN.

    Args:
        path: of the group.
        kind: of the manifest.
        remedy: what to do about a damaged one.
        options: of `xarray.open_dataset`.

    Raises:
        InputError: one line, if it is no Zarr group, damaged, or may not be decoded.
    """
    try:
        store: Any  # of which xarray has no type
        if (path / MANIFEST).exists():
            folder = Sealed(path, read_manifest(path, kind, remedy), remedy)
            if folder.read(METADATA[0]) is None:
                raise InputError(f"{path}: holds no Zarr group; {remedy}")
            store, group, version = folder.store(), "", 3
        else:
            store, group, version = open_foreign(str(path))
        # without Dask: what says that it has a billion chunks would make a graph of as many tasks
        return xr.open_dataset(
            store, engine="zarr", group=group or None, zarr_format=version, consolidated=False,
            chunks=None, cache=False, **options,
        )  # fmt: skip
    except InputError:
        raise
    except Exception as error:  # libraries raise many kinds
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise InputError(f"{path}: no Zarr store that can be opened ({reason}); {remedy}") from None


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
        told = getattr(error, "strerror", None) or str(error)
        reason = (told.splitlines() or [""])[0] or type(error).__name__
        raise InputError(f"{path}: not a readable NetCDF file ({reason}); {remedy}") from None
    for name, variable in dataset.variables.items():
        if (
            variable.dtype == object
            and np.dtype(variable.encoding.get("dtype", object)).kind == "O"
        ):
            raise InputError(f"{path}: {name} holds objects, which are not read; leave it out")
    return dataset
