"""Files with CF axes, NetCDF or GRIB: any variables per file, times split over files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from climate.sources.catalogue import Catalogue
from climate.sources.dataset import make_dataset
from climate.sources.files import find_files, open_files
from climate.sources.select import Selection
from vgbdm.options.kinds import Text
from vgbdm.registry.marks import buildable


@buildable
class CFFilesSource:
    """Reader of NetCDF and GRIB files, and of ZIP archives of them.

    Args:
        root: folder that holds the files, or one file.
        pattern: of the files in it; ``**/*.nc`` reaches into its folders. None: all in it and in
            its folders whose names end as those of data do.
        variables: short names wanted, in the order of the channels.
        fields: short name → ``name`` and ``level`` in the files.
        static: short name → ``name``, ``factor`` and ``units``; those that are absent are left out.
    """

    def __init__(
        self,
        root: Text,
        pattern: Text | None,
        variables: Sequence[str],
        fields: Mapping[str, Mapping[str, Any]],
        static: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.root, self.pattern, self.variables = Path(root), pattern, list(variables)
        self.catalogue = Catalogue(fields, static)

    def open(self, selection: Selection | None = None) -> xr.Dataset:
        """The lazy dataset; see `climate.sources`.

        Raises:
            InputError: one line, for whatever cannot be taken as it is.
        """
        held = open_files(find_files(self.root, self.pattern))
        first = held[0][1]
        return make_dataset(
            self.catalogue.series(self.variables, held),
            self.variables,
            self.catalogue.statics(held),
            {k: first.attrs[k] for k in ("title", "comment", "source") if k in first.attrs},
            selection or Selection(),
        )
