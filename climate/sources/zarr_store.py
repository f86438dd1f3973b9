"""Zarr stores by path or URL, in the naming of WeatherBench 2 and ARCO-ERA5.

    geopotential(time, level, longitude, latitude)       long names, levels in hPa
    2m_temperature(time, latitude, longitude)
    geopotential_at_surface(latitude, longitude)         static, ARCO-ERA5: one for every time

Dimensions in any order, packed or not. ARCO-ERA5 has times that hold nothing yet; its attributes
say which do.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from climate.sources.catalogue import Catalogue
from climate.sources.fields import make_dataset
from climate.sources.select import Selection
from climate.store.calendar import Period, parse_period
from vgbdm.errors import InputError


class ZarrStoreSource:
    """Reader of a Zarr store.

    Args:
        root: path or fsspec URL of the store.
        variables: short names wanted, in the order of the channels.
        fields: short name → ``name`` and ``level`` in the store.
        static: short name → ``name``, ``factor`` and ``units``; those that are absent are left out.
        storage_options: of the URL's fsspec backend.
    """

    def __init__(
        self,
        root: str,
        variables: Sequence[str],
        fields: Mapping[str, Mapping[str, Any]],
        static: Mapping[str, Mapping[str, Any]],
        storage_options: Mapping[str, Any],
    ) -> None:
        self.root, self.variables, self.storage_options = root, list(variables), storage_options
        self.catalogue = Catalogue(fields, static)

    def open(self, selection: Selection | None = None) -> xr.Dataset:
        """The lazy dataset; see `climate.sources`.

        Raises:
            InputError: one line, for whatever cannot be taken as it is.
        """
        dataset = self._open_store()
        held = {self.root: dataset}
        return make_dataset(
            self.catalogue.series(self.variables, held),
            self.variables,
            self.catalogue.statics(held),
            {k: dataset.attrs[k] for k in ("title", "comment", "source") if k in dataset.attrs},
            selection or Selection(),
            self._valid_period(dataset),
        )

    def _open_store(self) -> xr.Dataset:
        options = dict(self.storage_options) if "://" in self.root else None
        try:
            with warnings.catch_warnings():  # consolidated metadata is faster, not needed
                warnings.filterwarnings("ignore", "Failed to open Zarr store with consolidated")
                return xr.open_dataset(
                    self.root, engine="zarr", chunks=None, cache=False, decode_timedelta=False,
                    storage_options=options,
                )  # fmt: skip
        except ImportError as error:
            raise InputError(
                f"{self.root}: its kind of URL needs a package ({_line(error)}); "
                "pip install '.[cloud]'"
            ) from None
        except Exception as error:  # every backend has errors of its own
            raise InputError(
                f"{self.root}: not a Zarr store that can be opened ({_line(error)}); source.root "
                "names it, source.storage_options say how to reach it"
            ) from None

    def _valid_period(self, dataset: xr.Dataset) -> Period | None:
        """The times that hold data, by the attributes of ARCO-ERA5."""
        ends = [dataset.attrs.get(f"valid_time_{end}") for end in ("start", "stop")]
        return parse_period(f"{self.root}: valid_time", ends) if all(ends) else None


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
