"""Rank histograms and zonal energy spectra: sums over starts, for pictures and tables.

Spectra are of whole circles of latitude: of boxes and of masked variables there are none.

Shapes: ``N`` starts, ``M`` members, ``S`` leads, ``H`` latitudes, ``W`` longitudes, ``K`` zonal
wavenumbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from climate.grids.area import Area
from climate.verification.pairs import mean_of, rank_histogram, zonal_spectrum

SPECTRUM_RULE = (
    "power per zonal wavenumber, squared amplitude, cos φ-weighted over all latitudes, mean over "
    "starts; of an ensemble the mean over members (model) and that of its mean (model_mean)"
)
ENSEMBLES = ("model", "model_dressed", "climatology")
"""Rows that may have ranks."""
RANK_RULE = (
    "area-weighted share of truths at each rank among the members, or among the draws of a normal "
    "row; ties shared evenly; of members in pairs the mean of two halves, one of each pair"
)


def has_spectra(area: Area) -> bool:
    """Whether fields go around the Earth with no point left out."""
    return area.is_circle and area.kept is None


class Shapes:
    """Sums of what is drawn rather than scored, by variable.

    Args:
        hours: (S,) the leads.
    """

    def __init__(self, hours: list[int]) -> None:
        self.hours = hours
        self.spectra: dict[tuple[str, str], np.ndarray] = {}
        self.ranks: dict[tuple[str, str], np.ndarray] = {}
        self.starts: dict[str, np.ndarray] = {}

    def add(
        self, variable: str, lead: int, members: np.ndarray, truth: np.ndarray, area: Area,
        mirrored: bool = False,
    ) -> None:  # fmt: skip
        """Take in forecasts from one start and their truth.

        Args:
            variable: short name.
            lead: place of the first.
            members: (M, B, H, W), at leads that follow each other.
            truth: (B, H, W).
            area: of the variable; where some of it is masked there are no spectra.
            mirrored: members 2k and 2k + 1 are drawn by opposite numbers: a truth is between them
                too often, and is ranked among one of each pair, M/2 members.
        """
        leads = slice(lead, lead + len(truth))
        self._sum(self.starts, variable, leads, np.ones((len(truth), 1)))
        if has_spectra(area):
            power = zonal_spectrum(members, area).mean(0)
            self._sum(self.spectra, ("model", variable), leads, power)
            if len(members) > 1:
                power = zonal_spectrum(mean_of(members), area)
                self._sum(self.spectra, ("model_mean", variable), leads, power)
        if len(members) > 1:
            halves = (members[::2], members[1::2]) if mirrored else (members,)
            shares = mean_of(np.stack([rank_histogram(half, truth, area) for half in halves]))
            self.add_ranks("model", variable, leads, shares)

    def add_ranks(self, row: str, variable: str, leads: slice, shares: np.ndarray) -> None:
        """Take in a row's rank histograms (S, M + 1), of a start or summed over some."""
        self._sum(self.ranks, (row, variable), leads, shares)

    def add_truth(self, variable: str, leads: slice, power: np.ndarray) -> None:
        """Take in spectra (S, K) of the truth, summed over the starts."""
        self._sum(self.spectra, ("truth", variable), leads, power)

    def merge(self, other: Shapes) -> None:
        """Take in the sums of other starts, leads or variables."""
        everything = slice(0, len(self.hours))
        for own, others in (
            (self.spectra, other.spectra), (self.ranks, other.ranks), (self.starts, other.starts),
        ):  # fmt: skip
            for key, sums in others.items():
                self._sum(own, key, everything, sums)

    def _sum(self, sums: dict[Any, np.ndarray], key: Any, leads: slice, values: np.ndarray) -> None:
        sums.setdefault(key, np.zeros((len(self.hours), values.shape[1])))[leads] += values

    def spectra_table(self) -> pd.DataFrame:
        """Columns row, variable, lead_hours, wavenumber, power (units of the variable, squared)."""
        found = [
            (row, variable, hour, k, power)
            for variable, starts in self.starts.items()
            for row in ("model", "truth", "model_mean")
            if (row, variable) in self.spectra
            for hour, powers in zip(self.hours, self.spectra[row, variable] / starts, strict=True)
            for k, power in enumerate(powers)
        ]
        columns = ["row", "variable", "lead_hours", "wavenumber", "power"]
        return pd.DataFrame(found, columns=columns)

    def ranks_table(self) -> pd.DataFrame:
        """Columns row, variable, lead_hours, rank, share, of rows that are ensembles."""
        found = [
            (row, variable, hour, rank, share)
            for row in ENSEMBLES
            for variable, starts in self.starts.items()
            if (row, variable) in self.ranks
            for hour, shares in zip(self.hours, self.ranks[row, variable] / starts, strict=True)
            for rank, share in enumerate(shares)
        ]
        return pd.DataFrame(found, columns=["row", "variable", "lead_hours", "rank", "share"])
