"""Grey-box fields with latents: dx/dt = w · f_phys(x, t; θ) + f_net(x, ζ).

Shapes: ``B`` windows, ``N`` points, ``T`` frames of a window, ``K`` frames of history, ``C``
observed components, ``Q`` components of the integrated state (C, or positions and velocities: 2C),
``Z`` latents, ``P`` parameters, ``...`` axes of a grid.

Second order (docs/method.md#second-order-systems): the frames show positions q alone; the state
is (q, q̇), the row q̇ = q̇ is exact, and physics and network give q̈.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vgbdm.dynamics.physics import Physics
from vgbdm.dynamics.rollout import Solver
from vgbdm.dynamics.tendency import Context, Tendency
from vgbdm.errors import InputError
from vgbdm.fields.former import residuals_of_before
from vgbdm.fields.grey_box import Past, Window
from vgbdm.fields.system_field import FieldStatistics, SystemField
from vgbdm.latents.distributions import Distribution, GaussianHead
from vgbdm.latents.latents import LatentDistribution, Latents, LatentSizes
from vgbdm.latents.regression import WindowRegression
from vgbdm.options.kinds import AtLeastTwo, Frames, Size, Text
from vgbdm.paths.path import Path
from vgbdm.registry.marks import model_part


class Refining(Protocol):
    """How a window's latents are refined: `vgbdm.inference.refinement.Refinement`."""

    @property
    def steps(self) -> int:
        """Of Levenberg–Marquardt; 0: none."""

    @property
    def anchor(self) -> float:
        """How much the encoder is believed."""

    @property
    def anchor_width(self) -> float:
        """Beyond which it is believed less."""

    @property
    def doubt(self) -> float:
        """How much the more the encoder is believed the less a window can be explained."""


CORRECTION = 0.1
"""Widths of its prior that a head may move θ from what least squares estimates: as long as the
network knows nothing, θ is moved to make up for it. Moved freely, a of reaction–diffusion went from
an error of .002 of the true values' variance to 3.2 within 120 steps, moved by tenths to 2.3."""


@model_part
class LatentField(SystemField):
    """Known physics with θ, a residual network with ζ, and the encoder that infers both.

    Args:
        physics: the system.
        statistics: of the training trajectories.
        path: gives all derivatives at frames, see `SystemField`.
        grey: whether the known physics takes part; a black box has no θ either.
        residual_inputs: names of state components that the network sees, ``state`` for all, or
            ``everything``: all, K frames of history, and the known physics, as published.
        window: T.
        history: K.
        latents: Z.
        features: between encoder and posteriors.
        encoder: (channels, window, features) → module.
        network: (inputs, outputs) → module whose last layer starts at zero.
        unmixing: (numbers in, numbers out) → module: a correction of the window before θ is
            inferred from it, as PhysVAE has; None without.
        head: (features, numbers) → module that gives their
            `vgbdm.latents.distributions.Distribution`: the family of the posteriors.
        regression: (C, S, P) → what least squares makes of a window's rates, for the posterior to
            be inferred from beside the encoder's features; None: nothing.
        refinement: steps after the encoder, outside training, see `vgbdm.inference.refinement`;
            None: none.
        solver: of rollouts, per interval.

    Raises:
        InputError: as `SystemField`, and for a window of fewer frames than the path needs.
    """

    theta_factor: Tensor  # (P,) calibrated multiples of what windows leave open of y, by Laplace
    zeta_factor: Tensor  # (1,) and of ζ given y
    calibrated_on: Tensor  # (2,) simulated windows, held-out forecasts that set them; 0: none

    def __init__(
        self,
        physics: Physics,
        statistics: FieldStatistics,
        *,
        path: Path,
        grey: bool,
        residual_inputs: Text | Sequence[Text],
        window: AtLeastTwo,
        history: Frames,
        latents: Frames,
        features: Size,
        encoder: Callable[[int, int, int], nn.Module],
        network: Callable[[int, int], nn.Module],
        unmixing: Callable[[int, int], nn.Module] | None,
        head: Callable[[int, int], nn.Module] = GaussianHead,
        regression: Callable[[int, int, int], WindowRegression] | None,
        refinement: Refining | None,
        solver: Solver,
    ) -> None:
        super().__init__(physics, statistics, path, grey, residual_inputs)
        if window < path.frames:
            raise InputError(
                f"model.window={window}: {type(path).__name__} needs {path.frames} frames at least"
            )
        self.history, self._window, self._solver = history, window, solver
        self.everything = residual_inputs == "everything"
        self.encoder = encoder(self.size + physics.forcings + 1, window, features)
        parameters, found = len(self.parameter_names), 0
        self.regression = None
        if regression is not None:
            self.regression = regression(self.size, len(self.seen), parameters)
            found = self.regression.outputs
        self.merge = nn.Linear(features + found, features)
        self.zeta_head = head(features + found, latents)
        self.network = network(self._count_inputs(latents), self.size)
        self.latents, self.refinement = latents, refinement
        self.register_buffer("zeta_factor", torch.ones(1))
        self.register_buffer("calibrated_on", torch.zeros(2))
        self.unmixing = None
        if grey:
            self.theta_head = head(features + found + latents, parameters)
            self.register_buffer("theta_factor", torch.ones(parameters))
            if unmixing is not None:
                flat = window * self.size * math.prod(physics.grid)
                self.unmixing = unmixing(flat + latents, flat)

    def _count_inputs(self, latents: int) -> int:
        """Channels that `_inputs` makes."""
        inputs = len(self.seen) + latents + (0 if self.grey else self.physics.forcings)
        if self.everything:
            inputs += self.history * self.size + (self.size if self.grey else 0)
        return inputs

    # --- what it is ----------------------------------------------------------------------------

    @property
    def memory(self) -> int:
        """See `GreyBoxField`."""
        return self.history if self.everything else 0

    @property
    def window(self) -> int:
        """See `GreyBoxField`."""
        return self._window

    @property
    def solver(self) -> Solver:
        """See `GreyBoxField`."""
        return self._solver

    @property
    def latent_sizes(self) -> LatentSizes:
        """See `GreyBoxField`; latents stand still over a forecast."""
        return LatentSizes((self.latents,), len(self.parameter_names), 1.0)

    # --- latents -------------------------------------------------------------------------------

    def past(self, history: Tensor | None, latents: bool = True) -> Past:
        """See `GreyBoxField`; (N, ≥ K, C, ...)."""
        if history is None or not self.memory:
            return Past(0, (), (), None)
        return Past(len(history), (history[:, -self.history :],), (), None)

    def context(self, past: Past, latents: Latents, repeats: int = 1) -> Context:
        """See `GreyBoxField`."""
        many = Latents(latents.zeta, self.physical(latents)).repeat(repeats)
        theta = {} if many.theta is None else self.prior.named(many.theta)
        return Context(theta, many.zeta, past.history)

    def infer(
        self, window: Window, past: Past | None = None, noise: Tensor | None = None
    ) -> tuple[LatentDistribution, Latents]:
        """See `GreyBoxField`: the encoder's answer; no past is needed."""
        features, estimate = self._read(window)
        zeta = self.zeta_head(features)
        numbers = None if noise is None else self.latent_sizes.split(noise)
        z = zeta.mean if numbers is None else zeta.draw(numbers[0])
        if not self.grey:
            return LatentDistribution(zeta, None), Latents(z, None)
        if self.unmixing is not None:
            features, estimate = self._read(Window(self.unmix(window.frames, z), window.times))
        theta = self._theta(features, z, estimate)
        y = theta.mean if numbers is None else theta.draw(numbers[1])
        return LatentDistribution(zeta, theta), Latents(z, y)

    def physical(self, latents: Latents) -> Tensor | None:
        """θ (B, P) in physical units; None for a black box."""
        return None if latents.theta is None else self.prior.physical(latents.theta)

    def theta_of(self, frames: Tensor, times: Tensor, zeta: Tensor) -> Distribution:
        """q(y | window, ζ) of a window taken as it is."""
        features, estimate = self._read(Window(frames, times))
        return self._theta(features, zeta, estimate)

    def _theta(self, features: Tensor, zeta: Tensor, estimate: Tensor | float) -> Distribution:
        """q(y | window, ζ): the head's, or near to what least squares estimates."""
        own: Distribution = self.theta_head(torch.cat((features, zeta), 1))
        if self.regression is None or self.regression.estimate is None:
            return own
        return own.about(estimate + CORRECTION * torch.tanh(own.mean / CORRECTION))

    def unmix(self, frames: Tensor, zeta: Tensor) -> Tensor:
        """The window as the physics alone would have made it (PhysVAE)."""
        assert self.unmixing is not None
        scaled = self.standardise(frames)
        change = self.unmixing(torch.cat((scaled.flatten(1), zeta), 1)).view_as(scaled)
        return frames + change * self.std[: self.size]

    def _read(self, window: Window) -> tuple[Tensor, Tensor | float]:
        """Features (B, n) of a window, and what least squares estimates of y (B, P), or 0.

        The encoder sees frames, known forcing and relative time gaps.
        """
        frames, times = window.frames, window.times
        forcing, scaled = self.physics.forcing(times), self.standardise(frames)
        grid = frames.shape[3:]
        gaps = times.diff(dim=1, prepend=times[:, :1] - self.interval) / self.interval
        extras = torch.cat((gaps[..., None], forcing), 2).to(frames.dtype)
        extras = extras.reshape(*extras.shape, *[1] * len(grid)).expand(*extras.shape, *grid)
        seen = self.encoder(torch.cat((scaled, extras), 2))
        if self.regression is None:
            return F.silu(self.merge(seen)), 0.0
        coefficients = self._coefficients(window)
        evidence = self.regression(coefficients)
        features = torch.cat((F.silu(self.merge(torch.cat((seen, evidence), 1))), evidence), 1)
        return features, self.regression.estimated(coefficients)

    def coefficients(self, frames: Tensor, times: Tensor) -> Tensor:
        """What least squares makes of the rates of windows (B, T, C, ...): (B, numbers)."""
        assert self.regression is not None
        return self.regression.coefficients(self.window_rates(frames, times))

    def _coefficients(self, window: Window) -> Tensor:
        frames, times, cached = window
        if cached is None:
            return self.coefficients(frames, times)
        assert self.regression is not None
        return cached.take(
            self.regression.numbers,
            lambda places: self.coefficients(frames[places], times[places]),
        )

    @torch.no_grad()
    def scale_regression(self, frames: Tensor, times: Tensor) -> None:
        """Standardise regression features, if any, by the windows (W, T, C, ...) of training."""
        if self.regression is not None:
            self.regression.fit_scale(self.coefficients(frames, times))

    def renewed_weights(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights and buffers of an earlier version, under the names and in the units of now.

        Widths of θ were multiples of what √R too many residuals left open, of ζ there were none.
        """
        held = dict(tensors)
        if "zeta_factor" not in held and ("width" in held or not self.grey):
            held["zeta_factor"] = torch.ones_like(self.zeta_factor)
        held.setdefault("calibrated_on", torch.zeros_like(self.calibrated_on))
        if "width" in held and self.grey:
            count = residuals_of_before(self.window, self.memory) * self.size
            count *= math.prod(self.physics.grid)
            held["theta_factor"] = held.pop("width") * math.sqrt(count)
        return held

    # --- the field -----------------------------------------------------------------------------

    def forward(self, x: Tensor, t: Tensor, context: Context, weight: float = 1.0) -> Tendency:
        """Velocity of states (N, Q, ...) at times (N,), in physical units."""
        known = self.physics.known(x, t, context.theta) if self.grey else None
        own = self.network(self._inputs(x, t, known, context))
        change = own * self.rate
        if known is not None:
            change = weight * known + change
        total = torch.cat((x[:, self.size :], change), 1) if self.order == 2 else change
        residual = {"network": own.square()} if self.grey else {}
        return Tendency(total, residual, context.theta, {})

    def _inputs(self, x: Tensor, t: Tensor, known: Tensor | None, context: Context) -> Tensor:
        grid = [1] * (x.dim() - 2)
        assert context.zeta is not None
        scaled = (x - self.mean) / self.std
        parts = [scaled.index_select(1, self.seen)]
        spread = [context.zeta] if self.grey else [context.zeta, self.physics.forcing(t).to(x)]
        for part in spread:
            parts.append(part.reshape(*part.shape, *grid).expand(-1, -1, *x.shape[2:]))
        if self.everything:
            parts.append(self.standardise(*context.history).flatten(1, 2))
            parts += [] if known is None else [known / self.rate]
        return torch.cat(parts, 1)

    # --- trajectories --------------------------------------------------------------------------

    def simulate(
        self,
        start: Tensor,
        history: Tensor,
        times: Tensor,
        latents: Latents,
        solver: Solver | None = None,
    ) -> Tensor:
        """States (B, n, Q, ...) at the n last of ``times`` (B, n + 1), θ and ζ fixed."""
        steps = self.march(start, history, times, times.diff(dim=1), latents, solver)
        return torch.stack(list(steps), 1)

    def forecast(self, frames: Tensor, times: Tensor, latents: Latents) -> Tensor:
        """Forecast from context frames.

        Args:
            frames: (B, T, C, ...) context.
            times: (B, T + n) of the context and of the wanted frames.
            latents: from `infer`.

        Returns:
            (B, n, C, ...).
        """
        count = frames.shape[1]
        start = self.begin(frames, times[:, :count], count - 1)
        states = self.simulate(start, frames, times[:, count - 1 :], latents)
        return states[:, :, : self.size]
