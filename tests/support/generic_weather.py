"""Weather in which no wrong formula looks right: nothing in it is zero, one, even or symmetric.

Every channel has its own size, trend and scale; times have gaps, with jumps across them; errors
differ by latitude, longitude, channel, lead and start.

Shapes: ``N`` times or starts, ``C`` channels, ``S`` leads, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

LAT = np.array([-67.5, -22.5, 22.5, 67.5])
LON = 45.0 * np.arange(8)
HOURS = np.array([0, 1, 2, 3, 4, 9, 10, 11, 12, 17, 18, 19])
"""Of the drifting states: gaps after the fifth and the ninth."""
STARTS = (0, 5, 9)
"""Where the stretches without a gap begin."""
CLIMATE, SCALE, CHANGE = (3.0, -7.0, 0.5, 11.0), (2.0, 30.0, 0.25, 5.0), (0.3, 0.7, 1.7, 0.11)
"""Of up to four channels: mean over the training period, standard deviation, change per step."""


def drifting_times(hours: np.ndarray = HOURS) -> np.ndarray:
    return np.datetime64("2016-02-27T20", "s") + hours * np.timedelta64(3600, "s")


def drifting_states(channels: int = 3, hours: np.ndarray = HOURS) -> np.ndarray:
    """(N, C, H, W) float32: a trend in time, jumps at the gaps, rows and columns all unlike."""
    generator = np.random.default_rng(11)
    shape = (len(hours), channels, len(LAT), len(LON))
    scale = np.array(SCALE[:channels])[:, None, None]
    mean = np.array(CLIMATE[:channels])[:, None, None]
    trend = (0.13 * hours**1.3)[:, None, None, None]
    slope = np.linspace(-1.0, 2.0, len(LAT))[:, None] + np.linspace(0.0, 0.7, len(LON)) ** 2
    jump = np.cumsum(np.diff(hours, prepend=hours[0]) > 1)[:, None, None, None]
    noise = 0.2 * generator.normal(size=shape)
    return (mean + scale * (trend * slope + 4.0 * jump + noise)).astype(np.float32)


def uneven_errors(*shape: int) -> np.ndarray:
    """Errors (..., H, W) whose size grows with each axis at its own rate, of either sign."""
    size = np.ones(shape)
    for axis, length in enumerate(shape):
        along = np.linspace(0.5, 1.5 + 0.3 * axis, length)
        size = size * along.reshape([-1 if k == axis else 1 for k in range(len(shape))])
    return size * np.random.default_rng(5).normal(0.4, 1.0, shape)


def with_unlike_channels(domain, sphere=None):
    """A domain whose channels have their own mean, scale, change and climate map.

    The climate varies over the globe; with ``sphere`` its maps are what that resolves.
    """
    count, height, width = domain.arrays["climate"].shape
    generator = torch.Generator().manual_seed(2)
    climate = torch.randn((count, height, width), generator=generator)
    climate = climate if sphere is None else sphere.project(climate)
    arrays = dict(domain.arrays)
    arrays["mean"], arrays["scale"] = np.array(CLIMATE[:count]), np.array(SCALE[:count])
    arrays["change"] = np.array(CHANGE[:count])
    arrays["climate"] = climate.double().numpy()
    return replace(domain, arrays=arrays)
