"""Validation during training: rollouts over the validation period.

Shapes: ``B`` starts, ``M`` members, ``S`` steps, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from climate.conventions.calendar import count_steps, lead_hours
from climate.conventions.wording import duration
from climate.models.forecaster import TrainedForecaster, forcing_of
from climate.store.layout import TrainingStore
from climate.stream.batches import WeatherBatch, read_windows
from vgbdm.errors import InputError
from vgbdm.options.kinds import AtLeastTwo, Count
from vgbdm.progress import Bar, progress
from vgbdm.scores import crps, expected_square
from vgbdm.training.backends.base import Backend
from vgbdm.training.pictures import forecast_and_truth
from vgbdm.training.transfer import arrive, to_numbers
from vgbdm.training.watchdog import note_progress

STATE_BYTES = 256 * 2**20
"""Of states that are read and forecast from at a time, where those of one start are not more."""


class RolloutValidation:
    """Latitude-weighted RMSE of forecasts over the validation period, masked points left out.

    ``score`` is the mean over channels and leads of RMSE ÷ rms change per step, of a stochastic
    model that of the fair CRPS of a few members: by the forecast of its latents' prior mean alone,
    that which was trained before anything was drawn would be the best. RMSE of that forecast and
    spread/skill are logged beside it. Channels that a model is given ahead are in no score.

    Args:
        store: of the data.
        backend: for the share of this rank and the sum over ranks.
        step: of the model.
        history: past states of a start.
        lead: longest forecast.
        starts: at most, evenly spread over the period.
        batch: starts at a time; fewer where their states take above 256 MiB.
        members: drawn of a stochastic model, at every fourth start; at least 2.
        seed: of the draws.
    """

    def __init__(
        self,
        store: TrainingStore,
        backend: Backend,
        *,
        step: np.timedelta64,
        history: int,
        lead: np.timedelta64,
        starts: Count,
        batch: Count,
        members: AtLeastTwo,
        seed: int,
    ) -> None:
        if members < 2:
            raise InputError(f"validation.members={members}: at least 2 make an ensemble")
        self.store, self.backend, self.history = store, backend, history
        self.steps = count_steps("validation.lead", lead, step, "the model's")
        self.stride, self.hours = store.stride(step), lead_hours(step, self.steps)
        anchors = store.anchors("val", step, history, self.steps)
        if not len(anchors):
            raise InputError(
                f"{store.path}: the validation period holds no start with {duration(lead)} of "
                "data after it; choose a longer one or a shorter validation.lead"
            )
        chosen = np.linspace(0, len(anchors) - 1, min(starts, len(anchors))).round().astype(int)
        self.all, self.few = (self._share(anchors[part]) for part in (chosen, chosen[::4]))
        state = 4 * int(np.prod(store.state.shape[1:]))
        fitting = STATE_BYTES // (state * (history + 1 + self.steps))
        self.batch, self.members, self.seed = max(1, min(batch, fitting)), members, seed
        rows, _ = store.interior
        area = torch.from_numpy(store.grid.area_weights[rows])[:, None]
        self.mask: Tensor | None = None
        if store.mask is not None:
            mask = torch.from_numpy(store.without_halo(store.mask))
            area, self.mask = area * ~mask, mask.to(backend.device)
        self.last: tuple[Tensor, Tensor] | None = None
        self.area = (area / area.mean((-2, -1), keepdim=True)).to(backend.device)

    def _share(self, anchors: np.ndarray) -> tuple[np.ndarray, Tensor]:
        """This rank's starts and their weights (N,), 1 or 0.

        Every rank makes the same number of field calls: the last start is repeated, unweighted.
        """
        ranks = self.backend.world_size
        extra = -len(anchors) % ranks
        padded = np.concatenate((anchors, np.repeat(anchors[-1:], extra)))
        weights = torch.arange(len(padded)) < len(anchors)
        mine = slice(self.backend.rank, None, ranks)
        return padded[mine], weights[mine].float()

    def __call__(self, field: TrainedForecaster) -> dict[str, float]:
        """Scores of a field, physical units. *Collective.*

        Returns:
            ``score`` and ``rmse_<channel>_<hours>h``; of stochastic models also ``crps_…`` and
            ``spread_skill_…`` (`vgbdm.scores.spread_skill`).
        """
        units = (field.change * field.scale).flatten()
        drawn = getattr(field, "stochastic", False)
        total = len(self.all[0]) + (len(self.few[0]) if drawn else 0)
        with progress(
            total, "start", "validating", silent=self.backend.rank > 0, leave=False
        ) as bar:
            return self._scores(field, units, drawn, bar)

    def _scores(
        self, field: TrainedForecaster, units: Tensor, drawn: bool, bar: Bar
    ) -> dict[str, float]:
        """As `__call__` says; ``drawn``: whether an ensemble is scored too."""
        (square,), unit = self._means(
            self.all, lambda *start: (self._error(field, *start),), units, bar
        )
        rmse = square.sqrt()
        judged = self._judged(field)
        judging, scores = rmse, self._named("rmse", rmse, judged)
        if drawn:
            (crps, expected, square), _ = self._means(
                self.few, lambda *start: self._ensemble(field, *start), units, bar
            )
            judging, spread = crps, expected.sqrt()
            scores |= self._named("crps", crps, judged) | self._named(
                "spread_skill", spread / square.sqrt(), judged
            )
        return {"score": float((judging / unit)[:, judged].mean())} | scores

    def pictures(self) -> dict[str, np.ndarray]:
        """Forecast, truth and error of each channel at the longest lead of one start."""
        if self.last is None:
            return {}
        made, true = (values.float().cpu().numpy()[:, ::-1] for values in self.last)
        names = enumerate(self.store.channels)
        return {name: forecast_and_truth(made[c], true[c]) for c, name in names}

    def _judged(self, field: TrainedForecaster) -> list[int]:
        """Channels that a field forecasts."""
        given = forcing_of(field)
        return [c for c, name in enumerate(self.store.channels) if name not in given]

    def _named(self, score: str, values: Tensor, judged: list[int]) -> dict[str, float]:
        """Values (S, C) of some channels under their names."""
        return {
            f"{score}_{self.store.channels[c]}_{hour}h": row[c]
            for hour, row in zip(self.hours, values.tolist(), strict=True)
            for c in judged
        }

    def _steps(
        self, field: TrainedForecaster, past: Tensor, times: Tensor, truth: Tensor, *draws: Any
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The forecast (B, M, C, H, W) and the truth (B, C, H, W) of each step."""
        given = [self.store.channels.index(name) for name in forcing_of(field)]
        ahead: dict[str, Any] = (
            {"forcing": iter(truth[:, :, None, given].unbind(1))} if given else {}
        )
        made = field.forecast_steps(past, times, self.steps, *draws, **ahead)
        return zip(made, truth.unbind(1), strict=True)

    def _error(
        self, field: TrainedForecaster, past: Tensor, times: Tensor, truth: Tensor
    ) -> Tensor:
        """Area-mean square errors (B, S, C) of one forecast."""
        errors = []
        for x, true in self._steps(field, past, times, truth):
            errors.append(self._area_mean(self._inside(x[:, 0] - true).square()))
        self.last = x[0, 0].detach(), true[0]
        return torch.stack(errors, 1)

    def _inside(self, values: Tensor) -> Tensor:
        """Float64 of (..., H, W) without the halo."""
        inner: Tensor = self.store.without_halo(values)
        return inner.double()

    def _area_mean(self, values: Tensor) -> Tensor:
        """Mean over the area of (..., C, H, W), where forecasts and truth are not masked."""
        if self.mask is not None:
            values = values.masked_fill(self.mask, 0.0)
        return (values * self.area).mean((-1, -2))

    def _ensemble(
        self, field: TrainedForecaster, past: Tensor, times: Tensor, truth: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Area means (B, S, C) of CRPS, the square error that the mean should have, and its own."""
        scores: list[list[Tensor]] = []
        made = self._steps(field, past, times, truth, range(self.members), self.seed)
        for x, true in made:
            drawn, true = self._inside(x).transpose(0, 1), self._inside(true)
            square = (drawn.mean(0) - true).square()
            parts = (crps(drawn, true), expected_square(drawn), square)
            scores.append([self._area_mean(part) for part in parts])
        first, second, third = (torch.stack(parts, 1) for parts in zip(*scores, strict=True))
        return first, second, third

    def _means(
        self,
        share: tuple[np.ndarray, Tensor],
        score: Callable[..., tuple[Tensor, ...]],
        units: Tensor,
        bar: Bar,
    ) -> tuple[Tensor, Tensor]:
        """Means (K, S, C) over all ranks' starts of the K things that ``score`` says of batches.

        They are summed where the model computes and read once, with its units (C,): both float64.
        """
        anchors, weights = share
        device, totals = self.backend.device, None
        for at in range(0, len(anchors), self.batch):
            some = slice(at, at + self.batch)
            window = read_windows(
                self.store,
                anchors[some],
                stride=self.stride,
                history=self.history,
                ahead=self.steps,
            )
            times = torch.from_numpy(self.store.times[anchors[some]].astype(np.int64))
            ids = torch.from_numpy(anchors[some])
            host = WeatherBatch(torch.from_numpy(window), times, ids, weights[some])
            states, times, _, counted = arrive(host, device).device.tensors()
            past, truth = states.tensor_split([self.history + 1], 1)
            parts = torch.stack(score(past, times, truth))
            part = torch.einsum("b,kbsc->ksc", counted.double(), parts)
            totals = part if totals is None else totals + part
            note_progress()
            bar.update(len(anchors[some]))
        assert totals is not None
        count = totals.new_full((1,), float(weights.sum()))
        summed = self.backend.sum(torch.cat((totals.flatten(), count)))
        numbers = torch.tensor(to_numbers(torch.cat((summed, units.double()))), dtype=torch.float64)
        found, count, unit = numbers.split((totals.numel(), 1, len(units)))
        return (found / count).view_as(totals), unit
