"""Validation during training: rollouts over the validation period.

Shapes: ``B`` starts, ``S`` steps, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from climate.store.calendar import count_steps, lead_hours
from climate.store.layout import TrainingStore
from climate.stream import read_windows
from vgbdm.errors import InputError
from vgbdm.training.backends import Backend


class RolloutValidation:
    """Latitude-weighted RMSE of forecasts over the validation period.

    ``score`` is the mean over channels and leads of RMSE ÷ rms change per step.

    Args:
        store: of the data.
        backend: for the share of this rank and the sum over ranks.
        step: of the model.
        history: past states of a start.
        lead: longest forecast.
        starts: at most, evenly spread over the period.
        batch: forecasts at a time.
    """

    def __init__(
        self,
        store: TrainingStore,
        backend: Backend,
        *,
        step: np.timedelta64,
        history: int,
        lead: np.timedelta64,
        starts: int,
        batch: int,
    ) -> None:
        self.store, self.backend, self.history = store, backend, history
        self.steps = count_steps("validation.lead", lead, step, "the model's")
        self.stride, self.hours = store.stride(step), lead_hours(step, self.steps)
        anchors = store.anchors("val", step, history, self.steps)
        if not len(anchors):
            raise InputError(
                f"{store.path}: the validation period holds no start with {lead} of data after it; "
                "choose a longer one or a shorter validation.lead"
            )
        chosen = np.linspace(0, len(anchors) - 1, min(starts, len(anchors))).round().astype(int)
        # every rank makes the same number of field calls: the last start is repeated, unweighted
        share = -(-len(chosen) // backend.world_size)
        padded = np.resize(
            np.append(anchors[chosen], anchors[chosen[-1:]]), share * backend.world_size
        )
        weights = np.arange(len(padded)) < len(chosen)
        padded[~weights] = anchors[chosen[-1]]
        self.anchors = padded[backend.rank :: backend.world_size]
        self.weights = weights[backend.rank :: backend.world_size].astype(np.float64)
        self.batch = batch
        rows, _ = store.interior
        area = store.grid.area_weights[rows]
        self.area = torch.from_numpy(area / area.mean())[:, None]

    def __call__(self, field: Any) -> dict[str, float]:
        """Scores of a field: ``score`` and ``rmse_<channel>_<hours>h``. *Collective.*"""
        device = self.backend.device
        totals = torch.zeros(self.steps, len(self.store.channels), dtype=torch.float64)
        for at in range(0, len(self.anchors), self.batch):
            anchors = self.anchors[at : at + self.batch]
            window = torch.from_numpy(
                read_windows(
                    self.store, anchors, stride=self.stride, history=self.history, ahead=self.steps
                )
            )
            past, truth = window[:, : self.history + 1], window[:, self.history + 1 :]
            times = torch.from_numpy(self.store.times[anchors].astype(np.int64))
            forecast = field.forecast(past.to(device), times.to(device), self.steps).cpu()
            error = self.store.without_halo(forecast - truth)
            square = (error.double().square() * self.area).mean((-1, -2))
            weight = torch.from_numpy(self.weights[at : at + self.batch])
            totals += torch.einsum("b,bsc->sc", weight, square)
        counted = torch.cat((totals.flatten(), torch.tensor([self.weights.sum()]))).to(device)
        counted = self.backend.sum(counted).cpu()
        rmse = (counted[:-1] / counted[-1]).sqrt().view_as(totals)
        unit = (field.change * field.scale).flatten().double().cpu()
        scores = {"score": float((rmse / unit).mean())}
        for hour, row in zip(self.hours, rmse.tolist(), strict=True):
            for name, value in zip(self.store.channels, row, strict=True):
                scores[f"rmse_{name}_{hour}h"] = value
        return scores
