"""The windows over which a climatology with seasons is smoothed: weights by distance in days.

The weights are even in the distance, so that a smoothed cycle keeps its phase and of its k-th
harmonic the share Σ w(j) cos(2πkj/366) ÷ Σ w(j).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vgbdm.errors import InputError

HALF_WINDOW = 30
"""Days to either side: 61 in all, as in WeatherBench 2 and the forecast centres."""
GAUSSIAN_DAYS = 10.0
HIGHEST_ORDER = 2


@dataclass(frozen=True)
class Window:
    """How much the days around a day count.

    Attributes:
        name: in options and manifests.
        words: what it is, for a scorecard.
        weights: of the day itself, of those a day away, and so on; whole numbers where they can be,
            so that their differences are exact.
    """

    name: str
    words: str
    weights: tuple[float, ...]

    @property
    def half(self) -> int:
        """Days to either side."""
        return len(self.weights) - 1

    def taps(self, order: int) -> dict[int, float]:
        """Lag in days → factor, zeros left out: of the smoothed series, its differences taken.

        A difference is that of a day from the day before. Summed up again day by day, a window
        whose weights are constant or straight in pieces costs a few additions a day instead of one
        for each of its days.

        Args:
            order: how often differences are taken.
        """
        padded = np.pad([*self.weights[:0:-1], *self.weights], order)
        factors = (-1) ** order * np.diff(padded, order)
        found = enumerate(factors.tolist(), -self.half - order)
        return {lag: factor for lag, factor in found if factor}

    @cached_property
    def order(self) -> int:
        """The one whose taps are fewest."""
        return min(range(HIGHEST_ORDER + 1), key=lambda order: len(self.taps(order)))

    @cached_property
    def span(self) -> tuple[int, int]:
        """The first and the last lag that count, to begin and to go on in this order."""
        lags = [lag for order in range(self.order + 1) for lag in self.taps(order)]
        return min(lags), max(lags)


BOX = Window("box", f"over ±{HALF_WINDOW} days alike (box)", (1,) * (HALF_WINDOW + 1))
WEATHERBENCH2 = Window(
    "weatherbench2",
    f"over ±{HALF_WINDOW} days with weights that fall in a line to 0 (weatherbench2)",
    tuple(range(HALF_WINDOW, -1, -1)),
)
GAUSSIAN = Window(
    "gaussian",
    f"over ±{HALF_WINDOW} days with Gaussian weights of {GAUSSIAN_DAYS:g} days (gaussian)",
    tuple(math.exp(-0.5 * (days / GAUSSIAN_DAYS) ** 2) for days in range(HALF_WINDOW + 1)),
)
WINDOWS: Mapping[str, Window] = {each.name: each for each in (WEATHERBENCH2, GAUSSIAN, BOX)}
"""The first is what is made where nothing is said."""


def window_named(name: object, where: str = "climatology") -> Window:
    """The window of a name.

    Args:
        name: of the window.
        where: it is said, for the refusal.

    Raises:
        InputError: for another name.
    """
    if not isinstance(name, str) or name not in WINDOWS:
        raise InputError(f"{where}={str(name)[:20]}: want {', '.join(WINDOWS)}")
    return WINDOWS[name]
