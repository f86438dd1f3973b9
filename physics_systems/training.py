"""Training on trajectories: stores and a config → a run folder."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from physics_systems.data.stream import TrajectoryStream, statistics
from physics_systems.data.trajectories import Trajectories
from physics_systems.data.trajectories import load_trajectories as read_store
from physics_systems.evaluation.protocol import forecast_means
from physics_systems.systems.system import System
from vgbdm.errors import InputError
from vgbdm.extras import need
from vgbdm.fields.latent_field import LatentField
from vgbdm.fields.system_field import FieldStatistics
from vgbdm.inference.calibration import calibrate, describe
from vgbdm.latents.cache import WindowCache
from vgbdm.paths.noise import estimate_noise, per_component
from vgbdm.paths.path import Noise
from vgbdm.paths.path import Path as FramePath
from vgbdm.registry.build import build
from vgbdm.training.backends.base import Backend
from vgbdm.training.backends.steps import ParameterGroup
from vgbdm.training.beginning import start_from
from vgbdm.training.card import described
from vgbdm.training.faults import starting
from vgbdm.training.loop import Trainer
from vgbdm.training.order import Order
from vgbdm.training.pictures import forecast_and_truth
from vgbdm.training.plan import Plan
from vgbdm.training.run_folder import owned
from vgbdm.training.shares import Share
from vgbdm.training.status import Status
from vgbdm.training.transfer import to_numbers

log = logging.getLogger(__name__)

FREE = ("data.train", "data.val", "system.presets.", "verbose")
"""Options that may differ when a run is resumed: what the stores hold is compared, and what presets
set is compared where it is used."""
FAILED = 1e6
"""Stands for a validation score that is not finite, so that logs and comparisons stay sane."""


def run_dir_of(cfg: DictConfig) -> Path:
    """``run_dir``, or outputs/<system>-<objective>-<hash of the resolved config>."""
    if cfg.run_dir is not None:
        return Path(cfg.run_dir)
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    text = json.dumps(
        {k: v for k, v in plain.items() if k not in ("resume", "verbose")}, sort_keys=True
    )
    digest = hashlib.sha256(text.encode()).hexdigest()[:10]
    name = str(cfg.system._target_).rsplit(".", 1)[-1].lower()
    return Path("outputs") / f"{name}-{cfg.objective.name}-{digest}"


def parameter_groups(field: LatentField, weight_decay: float) -> list[ParameterGroup]:
    """The encoder and its heads, which may stand still while λ is let go, and the network."""
    network = {id(p) for p in field.network.parameters()}
    groups = []
    for own, schedule in ((True, ""), (False, "encoder")):
        chosen = [p for p in field.parameters() if (id(p) in network) == own]
        weights, rest = ([p for p in chosen if (p.dim() > 1) == w] for w in (True, False))
        groups += [
            ParameterGroup(weights, 1.0, weight_decay, schedule),
            ParameterGroup(rest, 1.0, 0.0, schedule),
        ]
    return groups


class ForecastValidation:
    """Relative mean square error of forecasts from posterior means, under the fair protocol.

    It also sets the widths of the posterior, which a checkpoint then carries.

    Args:
        data: validation trajectories.
        backend: for the share of this rank and the sum over ranks.
        limit: trajectories at most.
    """

    def __init__(self, data: Trajectories, backend: Backend, limit: int) -> None:
        x, t = (values[: min(limit, len(data))].to(backend.device) for values in (data.x, data.t))
        self.data, self.backend = Trajectories(x, t), backend
        self.mine = slice(backend.rank, None, backend.world_size)
        self.said = ""
        self.last: tuple[Tensor, Tensor] | None = None

    def pictures(self) -> dict[str, np.ndarray]:
        """Forecast, truth and error of one trajectory: components by frames, time to the right."""
        if self.last is None:
            return {}
        made, true = (values.float().flatten(1).T.cpu().numpy() for values in self.last)
        return {"trajectory": forecast_and_truth(made, true)}

    def __call__(self, field: LatentField) -> dict[str, float]:
        """``score`` (relative), ``forecast_mse`` and ``n_failed``. *Collective.*"""
        x, t = self.data.x, self.data.t
        calibrate(field, x, t, seed=0)
        truth = x[:, field.window :]
        size = truth.shape[2]
        variance = truth.double().transpose(0, 2).flatten(1).var(1, unbiased=False)
        sums = variance.new_zeros(size + 2)
        if len(x[self.mine]):
            forecast, _ = forecast_means(field, Trajectories(x[self.mine], t[self.mine]))
            self.last = forecast[0].detach(), truth[self.mine][0]
            square = (forecast - truth[self.mine]).double().square()
            square = square.reshape(*square.shape[:3], -1).mean((1, 3))
            fine = square.isfinite().all(1)
            counts = torch.stack((fine.sum(), (~fine).sum()))
            sums = torch.cat((torch.where(fine[:, None], square, 0.0).sum(0), counts))
        numbers = to_numbers(torch.cat((self.backend.sum(sums), field.calibrated_on, variance)))
        errors, (fine_ones, failed), widths, variances = (
            numbers[:size],
            numbers[size : size + 2],
            numbers[size + 2 : size + 4],
            numbers[size + 4 :],
        )
        self._say(describe(field, widths))
        each = np.divide(errors, fine_ones) if fine_ones else np.full(size, np.nan)
        score = float((each / np.array(variances)).mean())
        broken = failed > 0 or not math.isfinite(score)
        return {
            "score": FAILED if broken else score,
            "forecast_mse": FAILED if broken else float(each.mean()),
            "n_failed": int(failed),
        }

    def _say(self, line: str) -> None:
        """Log what widths were set by, where it is not what was said before."""
        if self.backend.rank == 0 and line != self.said:
            log.info("%s", line)
        self.said = line


def build_field(
    system: System,
    facts: FieldStatistics,
    model: Mapping[str, Any] | DictConfig,
    path: FramePath,
) -> LatentField:
    """An untrained field."""
    field: LatentField = build(model, system, facts, path=path)
    return field


def scale_regression(field: LatentField, data: Trajectories) -> None:
    """Give the field's regression the scale of training windows: first, middle and last ones."""
    last = data.x.shape[1] - field.window
    for_each = [slice(at, at + field.window) for at in sorted({0, last // 2, last})]
    few = slice(0, 200)
    field.scale_regression(
        torch.cat([data.x[few, cut] for cut in for_each]),
        torch.cat([data.t[few, cut] for cut in for_each]),
    )


def fit_path(path: FramePath, system: System, data: Trajectories, window: int) -> FramePath:
    """The path for these trajectories: it follows the noise that they carry, and says so.

    Raises:
        InputError: for a path that does not serve the system's order, or noise of other components.
    """
    path.check_order(system.order)
    noise: Noise
    if not isinstance(path.noise, str):
        noise, source = path.noise, "as given"
    elif data.noise is not None:
        noise, source = data.noise, "by their store"
    else:
        noise, source = estimate_noise(data.x, data.t), "as they show"
    each = per_component(noise, len(system.components))
    if len(each) != len(system.components):
        raise InputError(
            f"path.noise={noise}: want one number, or one for each of "
            f"{', '.join(system.components)}"
        )
    fitted = path.fitted(data.x, data.t, each, order=system.order, window=window)
    if any(each):
        said = ", ".join(
            f"{name} {size:.2g}" for name, size in zip(system.components, each, strict=True)
        )
        log.info("noise of the frames, %s: %s; path: %s", source, said, fitted.told())
    return fitted


def train(cfg: DictConfig) -> None:
    """Train as a config says; see configs/train_system.yaml. *Collective.*

    Raises:
        InputError: one line, for what cannot be trained on or gone on from.
    """
    need("tensorboard", "training")
    torch.set_num_threads(cfg.trainer.threads)
    run_dir, system = run_dir_of(cfg), build(cfg.system)
    needed = int(cfg.model.window) + 1
    data, held_out = (read_store(cfg.data[name], system, needed) for name in ("train", "val"))
    backend: Backend = build(cfg.backend)
    with owned(run_dir, backend, cfg.resume):
        with starting(Status(run_dir)):
            trainer = build_trainer(cfg, system, data, held_out, backend, run_dir)
        with described(trainer, data_facts(cfg, system, data, held_out)):
            trainer.fit()
        if backend.rank == 0:
            log.info("%s", trainer.ending())


def data_facts(
    cfg: DictConfig, system: System, data: Trajectories, held_out: Trajectories
) -> list[tuple[str, object]]:
    """What a model card says of trajectories."""
    return [
        ("system", system.name),
        ("training", f"{len(data)} trajectories, {cfg.data.train}"),
        ("validation", f"{len(held_out)} trajectories, {cfg.data.val}"),
        ("variables", ", ".join(system.components)),
        ("licence", "that of their source, which they do not name; simulated ones have none"),
    ]


def build_trainer(
    cfg: DictConfig,
    system: System,
    data: Trajectories,
    held_out: Trajectories,
    backend: Backend,
    run_dir: Path,
) -> Trainer:
    """Everything of a run, ready to start. *Collective.*

    Args:
        cfg: see configs/train_system.yaml.
        system: of the config.
        data: to train on.
        held_out: to validate on.
        backend: of this process.
        run_dir: exists; instead of that of the config.
    """
    path = fit_path(build(cfg.path), system, data, int(cfg.model.window))
    nodes = path.nodes(data.x, data.t)
    facts = statistics(data, nodes, path, system.order)
    torch.manual_seed(cfg.seed)
    model: Any = OmegaConf.to_container(cfg.model, resolve=True)
    field = build_field(system, facts, model, path)
    scale_regression(field, data)
    if cfg.init is not None:
        start_from(field, cfg.init, {"model": model})
    batch = min(cfg.batch, len(data) - len(data) % 2 or 1)
    order = Order(np.arange(len(data)), len(data), batch, batch, cfg.seed)
    resolved: Any = OmegaConf.to_container(cfg, resolve=True)
    options = {k: v for k, v in resolved["objective"].items() if k not in ("name", "schedules")}
    identity = {
        "must_match": {
            "statistics": asdict(facts),
            "order": order.digest,
            "batch": batch,
            "seed": cfg.seed,
            "model": model,
            "objective": resolved["objective"],
            "data": fingerprint(data.x, data.t),
            "validation data": fingerprint(held_out.x, held_out.t),
        },
        "rebuild": {
            **model,
            "path": path.config(),
            "physics": resolved["system"],
            "statistics": {
                "_target_": "vgbdm.fields.system_field.FieldStatistics",
                **asdict(facts),
            },
        },
        "config": resolved,
    }
    cache = WindowCache(len(data), data.x.shape[1] - field.window + 1)
    plan = {k: v for k, v in resolved["trainer"].items() if k != "threads"}
    trainer = Trainer(
        field,
        build(options, path=path, seed=cfg.seed),
        groups=parameter_groups(field, cfg.weight_decay),
        backend=backend,
        open_stream=lambda consumed: TrajectoryStream(
            data,
            nodes,
            order,
            consumed,
            Share.of(batch, batch, backend.rank, backend.world_size, backend.accumulation),
            pin=backend.device.type == "cuda",
            cache=cache,
        ),
        validate=ForecastValidation(held_out, backend, cfg.validation.limit),
        rate=build(cfg.rate),
        schedules={name: build(schedule) for name, schedule in cfg.objective.schedules.items()},
        global_batch=batch,
        plan=Plan(**plan),
        run_dir=run_dir,
        identity=identity,
        free=FREE,
    )
    if backend.rank == 0:
        log.info(
            "%s, %s: %d parameters (%d in the residual network), %d trajectories, %d rank(s) on %s",
            system.name, cfg.objective.name, count(field), count(field.network), len(data),
            backend.world_size, backend.device,
        )  # fmt: skip
    return trainer


def count(module: nn.Module) -> int:
    """Parameters of a module."""
    return sum(p.numel() for p in module.parameters())


def fingerprint(*tensors: Tensor) -> str:
    """A digest of the data a run was started with."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
