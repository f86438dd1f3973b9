"""Weather models whose errors anyone can check: they forecast the store itself, plus something."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vgbdm.randomness import keyed_generator


class Stepwise(torch.nn.Module):
    """Gives the steps of whole forecasts, which are simpler to write down."""

    def forecast_steps(self, states, times, n_steps, members=None, seed=0):
        if members is None:
            yield from self.forecast(states, times, n_steps)[:, None].unbind(2)
        else:
            yield from self.forecast_ensemble(states, times, n_steps, members, seed).unbind(2)


class Oracle(Stepwise):
    """Forecasts the truth plus a constant."""

    step_seconds, history, stochastic = 21600, 3, False

    def __init__(self, store, offset=0.0):
        super().__init__()
        self.channels, self.statistics_hash = store.channels, store.statistics.hash
        self.store, self.offset = store, offset

    def truth(self, times: Tensor, steps: int) -> Tensor:
        index = np.searchsorted(self.store.times.astype(np.int64), times.numpy())
        frames = index[:, None] + 6 * np.arange(1, steps + 1)
        return torch.from_numpy(self.store.read(0, len(self.store.times))[frames])

    def forecast(self, states: Tensor, times: Tensor, steps: int) -> Tensor:
        return self.truth(times, steps) + self.offset


class Calibrated(Oracle):
    """An ensemble that truth and members are drawn alike from: normal about a hidden centre.

    ``width`` times the spread that would be right.
    """

    stochastic = True

    def __init__(self, store, width=1.0):
        super().__init__(store)
        self.width = width

    def _noise(self, purpose: str, times: Tensor, shape: tuple[int, ...], *keys: int) -> Tensor:
        draws = [
            torch.randn(shape, generator=keyed_generator(keys[0], purpose, int(t), *keys[1:]))
            for t in times
        ]
        return torch.stack(draws)

    def forecast(self, states: Tensor, times: Tensor, steps: int) -> Tensor:
        truth = self.truth(times, steps)
        return truth + self._noise("centre", times, truth.shape[1:], 0)

    def forecast_ensemble(
        self, states: Tensor, times: Tensor, steps: int, members: Sequence[int], seed: int
    ) -> Tensor:
        centre = self.forecast(states, times, steps)
        shape = centre.shape[1:]
        own = [(m, 1) if m >= 0 else (-1 - m, -1) for m in members]
        noise = [sign * self._noise("member", times, shape, seed, m) for m, sign in own]
        return centre[:, None] + self.width * torch.stack(noise, 1)
