"""Zarr stores by path or URL, in the naming of WeatherBench 2 and ARCO-ERA5.

    geopotential(time, level, longitude, latitude)       long names, levels in hPa
    2m_temperature(time, latitude, longitude)
    geopotential_at_surface(latitude, longitude)         static, ARCO-ERA5: one for every time

Dimensions in any order, packed or not. ARCO-ERA5 has times that hold nothing yet; its attributes
say which do.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import xarray as xr
import zarr
from xarray.backends import ZarrStore

from climate.conventions.calendar import Period, parse_period
from climate.sources.absence import check_axes
from climate.sources.catalogue import Catalogue
from climate.sources.dataset import make_dataset
from climate.sources.presence import WatchedStore, presence_of
from climate.sources.select import Selection
from vgbdm.errors import InputError
from vgbdm.extras import how_to_install
from vgbdm.options.kinds import Text
from vgbdm.registry.marks import buildable
from vgbdm.storage.absent import sentinel_of
from vgbdm.storage.door import open_foreign
from vgbdm.storage.network import transfer

log = logging.getLogger(__name__)
PROSE = {"comment", "description", "history", "institution", "long_name", "references", "title"}
"""Attributes by which nothing is decoded."""
Told = Mapping[str, Any]
"""Consolidated metadata of arrays, by their names."""


@buildable
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
        root: Text,
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
        held = [(self.root, dataset)]
        return make_dataset(
            self.catalogue.series(self.variables, held),
            self.variables,
            self.catalogue.statics(held),
            {k: dataset.attrs[k] for k in ("title", "comment", "source") if k in dataset.attrs},
            selection or Selection(),
            self._valid_period(dataset),
        )

    def _open_store(self) -> xr.Dataset:
        try:
            return transfer(self.root, self._read_metadata)
        except InputError:
            raise
        except ImportError as error:
            raise InputError(
                f"{self.root}: its kind of URL needs a package ({_line(error)}); "
                f"{how_to_install('cloud')}"
            ) from None
        except Exception as error:  # every backend has errors of its own
            raise InputError(
                f"{self.root}: not a Zarr store that can be opened ({_line(error)}); source.root "
                "names it, source.storage_options say how to reach it"
            ) from None

    def _read_metadata(self) -> xr.Dataset:
        """The dataset by its consolidated metadata, unless its arrays have changed since."""
        store, group, version = open_foreign(self.root, self.storage_options)
        watched = WatchedStore(store)
        dataset, told = _open(watched, group, None)
        if not dataset.data_vars:
            _refuse_groups(watched, group, self.root)

        def own(names: Iterable[str]) -> dict[str, zarr.Array[Any]]:
            return {name: _array(watched, group, name, version) for name in names}

        arrays = own(self._used(dataset))
        stale = _differing(told, arrays) or self._added(told, watched, group, version)
        if stale:
            log.warning(
                "%s: its consolidated metadata are older than its arrays (%s); they are not used",
                self.root, stale,
            )  # fmt: skip
            dataset, _ = _open(watched, group, False)
            arrays = own(self._used(dataset))
        for name, array in arrays.items():
            dataset[name].encoding |= {
                "presence": presence_of(array, watched),
                "sentinel": sentinel_of(array),
            }
        check_axes(dataset, (name for name in arrays if name in dataset.coords), self.root)
        return dataset

    def _added(self, told: Told, store: WatchedStore, group: str, version: Any) -> str:
        """A wanted array that is stored, and that consolidated metadata do not know."""
        for entry in self._entries() if told else ():
            name = str(entry.get("name"))
            if name not in told and _is_array(store, group, name, version):
                return f"{name} is not in them"
        return ""

    def _entries(self) -> list[Mapping[str, Any]]:
        return [self.catalogue.fields.get(name, {}) for name in self.variables]

    def _used(self, dataset: xr.Dataset) -> list[str]:
        """Names of the arrays that are read, with their coordinates."""
        entries = [*self._entries(), *self.catalogue.static.values()]
        data = {str(entry.get("name")) for entry in entries} & set(map(str, dataset.data_vars))
        along = {str(dim) for name in data for dim in dataset[name].dims if dim in dataset.coords}
        return sorted(data | along)

    def _valid_period(self, dataset: xr.Dataset) -> Period | None:
        """The times that hold data, by the attributes of ARCO-ERA5."""
        ends = [dataset.attrs.get(f"valid_time_{end}") for end in ("start", "stop")]
        return parse_period(f"{self.root}: valid_time", ends) if all(ends) else None


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _open(store: WatchedStore, path: str, consolidated: bool | None) -> tuple[xr.Dataset, Told]:
    """As xarray opens it, and what consolidated metadata say of its arrays, if they are used.

    What is missing is said by `vgbdm.storage.validity`.
    """
    with warnings.catch_warnings():  # consolidated metadata is faster, not needed
        warnings.filterwarnings("ignore", "Failed to open Zarr store with consolidated")
        held = ZarrStore.open_group(
            store, mode="r", group=path or None, consolidated=consolidated,
            use_zarr_fill_value_as_mask=False,  # which xr.open_dataset does not hand on
        )  # fmt: skip
        inline = held.zarr_group.metadata.consolidated_metadata
        told = {} if inline is None else dict(inline.metadata)
        return xr.open_dataset(held, chunks=None, cache=False, decode_timedelta=False), told


def _differing(told: Told, arrays: Mapping[str, zarr.Array[Any]]) -> str:
    """What consolidated metadata say of an array that its own do not; nothing where all agree."""
    for name, array in arrays.items():
        then, now = (_facts(m) for m in (told.get(name, array.metadata), array.metadata))
        for key in sorted({*then, *now}, key=lambda key: (key != "shape", key)):
            if then.get(key) != now.get(key):
                return f"{name}: {key} is {then.get(key)} there, {now.get(key)} stored"
    return ""


def _facts(metadata: Any) -> dict[str, str]:
    """Of an array, as text: numbers that are NaN are alike."""
    held = metadata.to_dict()
    told = held.pop("attributes", {}).items()
    about = {f"its {key}": value for key, value in told if key not in PROSE}
    return {key: json.dumps(value, default=str)[:200] for key, value in (held | about).items()}


def _is_array(store: WatchedStore, group: str, name: str, version: Any) -> bool:
    try:
        _array(store, group, name, version)
    except (FileNotFoundError, ValueError):  # is not there, or is a group
        return False
    return True


def _refuse_groups(store: WatchedStore, path: str, root: str) -> None:
    """Name the groups that hold a store's variables, where its top holds none.

    Raises:
        InputError: if there are any that can be listed.
    """
    groups = sorted(zarr.open_group(store, path=path, mode="r").group_keys())
    if groups:
        raise InputError(
            f"{root}: holds its variables in the groups {', '.join(groups[:12])}; give one of "
            f"them, such as source.root={root.rstrip('/')}/{groups[0]}"
        )


def _array(store: WatchedStore, group: str, name: str, version: Any) -> zarr.Array[Any]:
    """An array by its own metadata, not by the consolidated ones."""
    path = f"{group}/{name}".lstrip("/")
    return zarr.open_array(store, path=path, mode="r", zarr_format=version)
