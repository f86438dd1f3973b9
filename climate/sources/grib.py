"""GRIB files of editions 1 and 2, read message by message by cfgrib and ecCodes.

Each dataset holds one variable on one kind of level, along the times it is valid at: analyses, and
forecasts where these do not overlap. The index of a file is made in memory, and no file is written.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from climate.conventions.wording import date
from vgbdm.errors import InputError
from vgbdm.extras import need
from vgbdm.storage.formats import AGAIN

TIME, GRID = "valid_time", "md5GridSection"
LEADS = ("dataDate", "dataTime", "endStep")
"""Which initial time and lead a message is of."""
_one_at_a_time = threading.Lock()
"""ecCodes reads the files of a process for one thread after the other."""


def open_grib(path: Path, where: str) -> list[xr.Dataset]:
    """Open a file lazily, without Dask.

    Args:
        path: of the file.
        where: what messages name it by.

    Raises:
        InputError: one line, where cfgrib is not installed, a message is damaged or cut off, or
            it is ambiguous which message a time is of.
    """
    need("cfgrib", f"{where} is a GRIB file; reading it")
    import cfgrib
    from cfgrib.messages import FileIndex

    keys = cfgrib.compute_index_keys((TIME,))
    try:
        stream = cfgrib.FileStream(str(path.absolute()), errors="raise")
        index = FileIndex.from_fieldset(stream, keys, cfgrib.COMPUTED_KEYS)
        whole = [index.subindex(paramId=number) for number in sorted(index["paramId"])]
        return [_dataset(one, made, where) for one, made in _uniform(whole)]
    except InputError:
        raise
    except Exception as error:  # ecCodes and cfgrib raise many kinds
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise InputError(f"{where}: not a readable GRIB file ({reason}); {AGAIN}") from None


def _uniform(indexes: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Parts of an index that are each one variable to cfgrib, and what it makes of them."""
    import cfgrib

    for index in indexes:
        try:
            made = cfgrib.open_from_index(index, (), (TIME,), errors="raise", squeeze=False)
        except cfgrib.DatasetBuildError as error:
            if len(error.args) < 3:
                raise
            yield from _uniform(index.subindex(keys) for keys in error.args[2])
        else:
            yield index, made


def _dataset(index: Any, made: Any, where: str) -> xr.Dataset:
    """A variable as xarray has it, lazy."""
    held = {
        name: xr.Variable(
            variable.dimensions,
            variable.data
            if isinstance(variable.data, np.ndarray | np.generic)
            else indexing.LazilyIndexedArray(_Messages(variable.data)),
            variable.attributes,
        )
        for name, variable in made.variables.items()
    }
    dataset = xr.decode_cf(xr.Dataset(held, attrs=made.attributes), decode_timedelta=False)
    _check_messages(index, f"{where}: {next(iter(dataset.data_vars))}")
    return dataset


def _check_messages(index: Any, what: str) -> None:
    """Refuse messages of which it is not clear where they belong.

    Raises:
        InputError: naming the first.
    """
    if len(index[GRID]) > 1:
        raise InputError(
            f"{what} is on {len(index[GRID])} grids; keep one, e.g. by grib_copy -w Ni=… OLD NEW"
        )
    seen = set()
    for header, numbers in index.iter_index():
        about = dict(zip(index.index_keys, header, strict=True))
        if not _is_date(str(about["dataDate"])):  # ecCodes counts on from there
            raise InputError(
                f"{what} has the date {about['dataDate']}, which is none; if it is of a monthly "
                "mean, give it a day by grib_set -s day=1 OLD NEW"
            )
        place = tuple(value for key, value in about.items() if key not in LEADS)
        if place in seen:
            raise InputError(
                f"{what} has forecasts of {_time(about)} from several initial times, which are no "
                "series of states; keep one of each time, e.g. by grib_copy -w step=6 OLD NEW"
            )
        seen.add(place)
        if len(numbers) > 1 and not _alike(index.fieldset[number] for number in numbers):
            raise InputError(
                f"{what} has {_time(about)} twice with different values; keep one, e.g. by "
                "grib_copy -w expver=1 OLD NEW"
            )


def _is_date(digits: str) -> bool:
    try:
        dt.datetime.strptime(digits, "%Y%m%d")
    except ValueError:
        return False
    return True


def _time(about: Mapping[str, Any]) -> str:
    return date(np.datetime64(int(about[TIME]), "s"))


def _alike(messages: Iterable[Any]) -> bool:
    first, *others = (message["values"] for message in messages)
    return all(np.array_equal(first, other) for other in others)


class _Messages(BackendArray):
    """The messages of a variable as xarray indexes them lazily."""

    def __init__(self, array: Any) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        basic = indexing.IndexingSupport.BASIC
        return indexing.explicit_indexing_adapter(key, self.shape, basic, self._get)

    def _get(self, key: tuple[Any, ...]) -> np.ndarray:
        try:
            with _one_at_a_time:
                return np.asarray(self.array[key])
        except Exception as error:  # ecCodes has errors of its own
            raise OSError(str(error) or type(error).__name__) from error
