"""Weather from an archive of our own."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from climate.sources.axes import open_part
from climate.sources.dataset import make_dataset
from climate.sources.select import Selection
from climate.sources.series import Series
from vgbdm.registry.marks import buildable


@buildable
class NumpyArchive:
    """Maps in one file of NumPy: time, lat, lon, and (time, lat, lon) of each variable.

    Args:
        root: the file.
        variables: short names wanted, in the order of the channels.
        units: short name → unit of its values.
    """

    def __init__(self, root: str, variables: Sequence[str], units: Mapping[str, str]) -> None:
        self.root, self.variables, self.units = root, list(variables), dict(units)

    def open(self, selection: Selection | None = None) -> xr.Dataset:
        """The lazy dataset; see `climate.sources`."""
        dims, held = ("time", "lat", "lon"), np.load(self.root)
        maps = {n: (dims, held[n], {"units": self.units[n]}) for n in self.variables}
        archive = xr.Dataset(maps, {axis: held[axis] for axis in dims})
        series = [Series((n,), (None,), (open_part(archive, n, self.root),)) for n in maps]
        return make_dataset(series, self.variables, {}, {}, selection or Selection())
