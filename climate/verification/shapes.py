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
from climate.verification.pairs import rank_histogram, zonal_spectrum

SPECTRUM_RULE = (
    "power per zonal wavenumber, squared amplitude, cos φ-weighted over all latitudes, mean over "
    "starts; of an ensemble the mean over members (model) and that of its mean (model_mean)"
)
RANK_RULE = "area-weighted share of truths at each rank among the members; ties shared evenly"


class Shapes:
    """Sums of what is drawn rather than scored, by variable.

    Args:
        hours: (S,) the leads.
    """

    def __init__(self, hours: list[int]) -> None:
        self.hours = hours
        self.spectra: dict[tuple[str, str], np.ndarray] = {}
        self.ranks: dict[str, np.ndarray] = {}
        self.starts: dict[str, int] = {}

    def add(self, variable: str, members: np.ndarray, truth: np.ndarray, area: Area) -> None:
        """Take in forecasts and their truth.

        Args:
            variable: short name.
            members: (N, M, S, H, W).
            truth: (N, S, H, W).
            area: of the variable; where some of it is masked there are no spectra.
        """
        count = len(truth)
        self.starts[variable] = self.starts.get(variable, 0) + count
        ensemble = members.shape[1] > 1
        for s in range(truth.shape[1]):
            if area.is_circle and area.kept is None:
                fields = {"model": members[:, :, s], "truth": truth[:, s]}
                if ensemble:
                    fields["model_mean"] = members[:, :, s].mean(1, dtype=np.float64)
                for row, field in fields.items():
                    power = zonal_spectrum(field, area)
                    each = power.reshape(-1, power.shape[-1]).mean(0)
                    self._sum(self.spectra, (row, variable), s, count * each)
            if ensemble:
                shares = rank_histogram(members[:, :, s], truth[:, s], area)
                self._sum(self.ranks, variable, s, count * shares)

    def _sum(self, sums: dict[Any, np.ndarray], key: Any, lead: int, values: np.ndarray) -> None:
        sums.setdefault(key, np.zeros((len(self.hours), len(values))))[lead] += values

    def spectra_table(self) -> pd.DataFrame:
        """Columns row, variable, lead_hours, wavenumber, power (units of the variable, squared)."""
        found = [
            (row, variable, hour, k, power)
            for (row, variable), sums in self.spectra.items()
            for hour, powers in zip(self.hours, sums / self.starts[variable], strict=True)
            for k, power in enumerate(powers)
        ]
        columns = ["row", "variable", "lead_hours", "wavenumber", "power"]
        return pd.DataFrame(found, columns=columns)

    def ranks_table(self) -> pd.DataFrame:
        """Columns variable, lead_hours, rank, share; empty for a deterministic forecast."""
        found = [
            (variable, hour, rank, share)
            for variable, sums in self.ranks.items()
            for hour, shares in zip(self.hours, sums / self.starts[variable], strict=True)
            for rank, share in enumerate(shares)
        ]
        return pd.DataFrame(found, columns=["variable", "lead_hours", "rank", "share"])
