"""Files as they come: NetCDF, GRIB, and ZIP archives of both, whatever they are named."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import netCDF4
import xarray as xr

from climate.sources import grib, zipped
from vgbdm.errors import InputError
from vgbdm.storage.datasets import open_netcdf
from vgbdm.storage.formats import AGAIN, ENDINGS, Kind, kind_of


def find_files(root: Path, pattern: str | None) -> list[Path]:
    """The files that are meant, sorted.

    Args:
        root: folder that holds them, or a file.
        pattern: of the files in it; None: all whose names end as those of data do.

    Raises:
        InputError: if there are none.
    """
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; source.root names the data")
    if pattern is None:
        return _known(root)
    if (root / pattern).is_file():  # brackets are letters there
        return [root / pattern]
    try:
        paths = sorted(path for path in root.glob(pattern) if path.is_file())
    except (NotImplementedError, ValueError):
        raise InputError(
            f"source.pattern={pattern}: want one inside of {root}, such as **/*.nc"
        ) from None
    if not paths:
        raise InputError(f"{root}: no file {pattern}; source.pattern names the files")
    return paths


def _known(root: Path) -> list[Path]:
    named = [p for p in root.rglob("*") if p.suffix.lower() in ENDINGS and p.name[0] != "."]
    paths = sorted(path for path in named if path.is_file())
    if paths:
        return paths
    if any((root / name).exists() for name in ("zarr.json", ".zgroup", ".zmetadata")):
        raise InputError(f"{root}: is a Zarr store; give source=weatherbench2 for it")
    raise InputError(
        f"{root}: no file that ends in {', '.join(ENDINGS)}; source.root names their folder, "
        "source.pattern others"
    )


def open_files(paths: Iterable[Path]) -> list[tuple[str, xr.Dataset]]:
    """Open files lazily, without Dask.

    Returns:
        Datasets, each after what messages name it by: the path of its file, and of an archive that
        in it; a file may hold several.

    Raises:
        InputError: one line, for a file that cannot be read as any of these.
    """
    return [held for path in paths for held in _open(path)]


def _open(path: Path) -> list[tuple[str, xr.Dataset]]:
    kind = kind_of(path)
    if kind != "zip":
        return [(str(path), dataset) for dataset in _open_data(path, str(path), kind)]
    members = zipped.unpack(path).items()
    return [(where, dataset) for where, place in members for dataset in _open_member(place, where)]


def _open_member(path: Path, where: str) -> list[xr.Dataset]:
    """Of an archive; messages name it by its place there."""
    try:
        kind = kind_of(path)
        if kind == "zip":
            raise InputError(f"{path}: is a ZIP archive inside of another; unzip the outer one")
        return _open_data(path, where, kind)
    except InputError as error:
        raise InputError(str(error).replace(str(path), where)) from None


def _open_data(path: Path, where: str, kind: Kind) -> list[xr.Dataset]:
    return grib.open_grib(path, where) if kind == "grib" else [_open_netcdf(path, where)]


def _open_netcdf(path: Path, where: str) -> xr.Dataset:
    dataset = open_netcdf(path, AGAIN, chunks=None, decode_timedelta=False)
    if not dataset.data_vars:
        _refuse_empty(path, where)
    return dataset


def _refuse_empty(path: Path, where: str) -> None:
    """Name the groups that hold a file's variables, where its top holds none.

    Raises:
        InputError: in any case.
    """
    groups = _groups(path)
    if groups:
        names = ", ".join(group.path for group in groups)
        raise InputError(f"{where}: holds its variables in the groups {names}; {groups[0].remedy}")
    raise InputError(f"{where}: holds no variables; {AGAIN}, or move it away")


def say_groups(name: str, held: Iterable[tuple[str, xr.Dataset]]) -> str:
    """Where a variable is that no file has at its top, and what to do; empty where it is nowhere.

    Args:
        name: of the variable.
        held: datasets that were opened; a file in an archive is passed over.
    """
    for where, _ in held:
        for group in _groups(Path(where)) if Path(where).is_file() else ():
            if name in group.variables:
                return f"; {where} has it in the group {group.path}: {group.remedy}"
    return ""


@dataclass(frozen=True)
class _Group:
    """A group of a NetCDF file that holds variables.

    Attributes:
        path: of it in the file.
        variables: names of those in it.
        whole: whether it has coordinates of its own, or takes those of the groups it is in.
    """

    path: str
    variables: frozenset[str]
    whole: bool

    @property
    def remedy(self) -> str:
        """How to bring it to the top; a tree gives a group the coordinates of those it is in."""
        by = (
            f"xr.open_dataset(OLD, group='{self.path}')"
            if self.whole
            else f"xr.open_datatree(OLD)['{self.path}'].to_dataset()"
        )
        return (
            f"bring them to the top, e.g. by ncks -G : OLD NEW, or by xarray: {by}.to_netcdf(NEW)"
        )


def _groups(path: Path) -> list[_Group]:
    """The groups of a file that hold variables, however deep; those of nothing but axes if all are.

    A file of another kind, such as a classic one, has none.
    """
    found: list[tuple[bool, _Group]] = []
    try:
        with netCDF4.Dataset(path) as file:
            waiting = list(file.groups.values())
            while waiting:
                group = waiting.pop(0)
                waiting += group.groups.values()
                held = frozenset(map(str, group.variables))
                dims = {dim for variable in group.variables.values() for dim in variable.dimensions}
                if held:
                    one = _Group(group.path.strip("/"), held, dims <= held)
                    found.append((held <= dims, one))
    except OSError:
        pass
    fields = [group for axes, group in found if not axes]
    return fields or [group for _, group in found]
