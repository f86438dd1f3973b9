"""What is taken of a source: period, time step, a box, another grid.

A selection is worked out on indices before anything is read, so that only what is wanted is.

Shapes: ``T`` times, ``L`` levels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from climate.conventions.calendar import Period, inside, parse_duration, parse_period
from climate.conventions.wording import period as period_text
from climate.grids.regions import Region, parse_region
from climate.grids.regridding import Regridding
from climate.sources.axes import Part, as_slice
from climate.sources.clock import thin
from climate.sources.meaning import check_means
from climate.sources.orientation import arrange, cell_edges, orient
from climate.sources.target import Target, parse_target
from vgbdm.errors import InputError

STORED = ("time", "level", "lat", "lon")


@dataclass(frozen=True)
class Frame:
    """How fields as stored become those of the dataset.

    Attributes:
        lat: (H,) of the dataset.
        lon: (W,) of the dataset.
        rows: where the rows that are read are stored, from the south.
        columns: where the columns that are read are stored, eastwards.
        means: what makes the dataset's rows and columns of them; None: they are these.
    """

    lat: np.ndarray
    lon: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    means: Regridding | None = None

    @property
    def box(self) -> dict[str, slice]:
        """What is read of the stored axes ``lat`` and ``lon``."""
        axes = {"lat": self.rows, "lon": self.columns}
        return {axis: slice(int(at.min()), int(at.max()) + 1) for axis, at in axes.items()}

    def read(
        self,
        part: Part,
        chosen: Mapping[str, Any],
        check: Callable[[np.ndarray], None] | None = None,
    ) -> np.ndarray:
        """Read (T, L, H, W) float32, NaN where missing; an axis the part has not has length 1.

        Args:
            part: what to read.
            chosen: indices by ``time`` and ``level``, where it has those.
            check: is given the values before they are regridded; may refuse them.
        """
        rows, columns = self.rows, self.columns
        raw = part.load({**chosen, **self.box})
        order = [part.variable.dims.index(axis) for axis in STORED if axis in part.variable.dims]
        values = raw.transpose(order)
        for k, axis in enumerate(STORED):
            if axis not in part.variable.dims:
                values = np.expand_dims(values, k)
        values = values[..., as_slice(rows - rows.min()), :]
        values = values[..., as_slice(columns - columns.min())]
        values = part.validity(values)
        if check is not None:
            check(values)
        if self.means is not None:
            values = self.means(values)
        return values.astype(np.float32, copy=False)


@dataclass(frozen=True)
class Selection:
    """What is wanted of a source.

    Attributes:
        period: the only times read; None: all.
        step: between the times read, counted from midnight UTC; None: as stored.
        region: the only box kept, with its halo; None: the whole grid.
        regrid: the grid that it is regridded to before a box is cut; None: as stored.
    """

    period: Period | None = None
    step: np.timedelta64 | None = None
    region: Region | None = None
    regrid: Target | None = None

    def facts(self) -> dict[str, Any]:
        """What a store says of it: nothing of what is taken whole."""
        facts: dict[str, Any] = {}
        if self.period is not None:
            facts["period"] = [str(end) for end in self.period]
        if self.step is not None:
            facts["subsampled_to"] = str(self.step)
        return {**facts, **(self.region.attributes() if self.region else {})}

    def frame(self, part: Part) -> Frame:
        """How fields on the grid of a part are read.

        Raises:
            InputError: one line, if the grid is not regular, or does not hold what is wanted; or if
                means are to be taken of values that have none.
        """
        if self.regrid is None:
            grid, held = orient(part.lat, part.lon, part.where)
            if self.region is None:
                return Frame(grid.lat, grid.lon, held.rows, held.columns)
            cut = self.region.cut(grid.lat, grid.lon)
            return Frame(
                grid.lat[cut.rows], cut.lon, held.rows[cut.rows], held.columns[cut.columns]
            )
        held = arrange(part.lat, part.lon, part.where)
        means = self.regrid.regridding(*cell_edges(part, held), part.where)
        if not means.only_picks:
            check_means(part)
        if self.region is not None:
            cut = self.region.cut(means.lat, means.lon)
            means = means.part(cut.rows, cut.columns, cut.lon)
        means, rows, columns = means.needed()
        return Frame(means.lat, means.lon, held.rows[rows], held.columns[columns], means)

    def within(self, times: np.ndarray, valid: Period | None, where: str) -> np.ndarray:
        """Indices of the increasing times (T,) that lie in the period and hold data.

        Raises:
            InputError: if there are none.
        """
        chosen = np.ones(len(times), bool)
        for period in (self.period, valid):
            if period is not None:
                chosen &= inside(times, period)
        if len(times) and not chosen.any():
            ends = (times[0], times[-1]) if valid is None else valid
            asked = period_text(*self.period) if self.period else "all"
            raise InputError(
                f"period={asked}: {where} has no time there, only {period_text(*ends)}; give a "
                "period inside that"
            )
        return np.flatnonzero(chosen)

    def subsample(self, times: np.ndarray, where: str) -> np.ndarray:
        """Indices of the increasing times (T,) that lie on the step.

        Raises:
            InputError: if the step is no multiple of the source's, or hits none of its times.
        """
        if self.step is None:
            return np.arange(len(times))
        return thin(times, self.step, where)


def parse_selection(
    period: Sequence[object] | None,
    step: str | None,
    region: str | Sequence[float] | None,
    halo: int,
    regrid: float | str | Mapping[str, Any] | None,
) -> Selection:
    """A selection as configs/convert_era5.yaml gives it; None: whole.

    Raises:
        InputError: one line, for a value that cannot be read.
    """
    return Selection(
        None if period is None else parse_period("period", period),
        None if step is None else parse_duration("step", step),
        None if region is None else parse_region(region, halo),
        parse_target(regrid),
    )
