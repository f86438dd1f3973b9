"""Grey-box fields: known physics plus a residual network (docs/method.md#grey-box-field).

What every objective, rollout and ensemble asks of a field; weather and the benchmark systems answer
alike.

Shapes: ``B`` samples, ``N`` points, ``L`` frames, ``T`` frames of a window, ``K`` of a history,
``k`` node values of a path, ``C`` channels, ``...`` further axes of the state.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from torch import Tensor

from vgbdm.dynamics.rollout import Driving, Solver, rollout
from vgbdm.dynamics.splitting import SplitSolver
from vgbdm.dynamics.tendency import Context, Dynamics
from vgbdm.errors import InputError
from vgbdm.latents.cache import CachedTrajectories, CachedWindows
from vgbdm.latents.latents import NO_LATENTS, LatentDistribution, Latents, LatentSizes
from vgbdm.latents.members import Members
from vgbdm.paths.path import Path, PathPoint


class KeyedBatch(Protocol):
    """What an objective reads of any batch."""

    ids: Tensor
    """(B,) int64 sample ids: the keys of all randomness."""


Batch = TypeVar("Batch", bound=KeyedBatch, contravariant=True)


class Trajectory(NamedTuple):
    """The frames of a batch in a field's units, oldest first.

    Attributes:
        nodes: (B, L, k, C, ...) of a path; the first node value is the frame.
        times: (B, L) float64, in the unit that rates are per.
        clock: (B, L) float64, what `GreyBoxField.forward` is given of the time.
        cached: what is kept of their windows; None: nothing.
    """

    nodes: Tensor
    times: Tensor
    clock: Tensor
    cached: CachedTrajectories | None = None

    @property
    def frames(self) -> Tensor:
        """(B, L, C, ...)."""
        return self.nodes[:, :, 0]


class Window(NamedTuple):
    """What latents are inferred from: frames (B, T, C, ...) at times (B, T).

    ``cached`` is what is kept of these very windows; None: nothing, or they were changed.
    """

    frames: Tensor
    times: Tensor
    cached: CachedWindows | None = None


class Past(NamedTuple):
    """What a history says, once for all uses.

    Attributes:
        rows: N.
        history: what the field is given of it, each with a first axis N; empty where nothing.
        seen: what encoders of latents read of it.
        prior: of the latents, given this history; None: standard normal, or no latents.
    """

    rows: int
    history: tuple[Tensor, ...]
    seen: tuple[Tensor, ...]
    prior: LatentDistribution | None

    def repeat(self, count: int) -> Past:
        """Each sample ``count`` times in a row."""

        def again(value: Tensor) -> Tensor:
            return value.repeat_interleave(count, 0)

        prior = None if self.prior is None else self.prior.map(again)
        history, seen = (tuple(map(again, part)) for part in (self.history, self.seen))
        return Past(self.rows * count, history, seen, prior)


class GreyBoxField(Dynamics, Generic[Batch]):
    """dx/dt = w · f_phys(x, t; θ) + f_net(x, context), with latents, units and forecasts.

    A field keeps nothing between calls: what depends on history or latents alone is computed once
    and handed back, as the context, at each evaluation.
    """

    # --- what it is ----------------------------------------------------------------------------

    @property
    @abstractmethod
    def grey(self) -> bool:
        """Whether known physics takes part; a black box has none to share its work with."""

    @property
    @abstractmethod
    def memory(self) -> int:
        """K, frames up to the current one that a context is made of; 0: none."""

    @property
    @abstractmethod
    def window(self) -> int:
        """T, frames that the posterior reads."""

    @property
    @abstractmethod
    def latent_sizes(self) -> LatentSizes | None:
        """Of the latents; None: the field is deterministic."""

    @property
    @abstractmethod
    def solver(self) -> Solver | SplitSolver:
        """How one interval is integrated."""

    # --- frames and units ----------------------------------------------------------------------

    @abstractmethod
    def trajectory(self, batch: Batch, path: Path | None) -> Trajectory:
        """The frames of a batch, and the nodes of a path; without one, the frames are the nodes."""

    def at(self, point: PathPoint) -> tuple[Tensor, Tensor]:
        """State and its rate, (N, ...) each, at a point of a path."""
        return point.state, point.velocity

    def along(
        self,
        path: Path,
        ends: tuple[Tensor, Tensor],
        length: Tensor,
        s: Tensor,
        noise: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """State and its rate, (N, ...) each, on a path between two nodes; arguments as of `Path`.

        A field may let some parts of a state take another course.
        """
        return self.at(path(*ends, length, s, noise))

    def from_frames(self, frames: Tensor) -> Tensor:
        """States (N, ...) that single frames show.

        Raises:
            InputError: where frames do not show all of a state.
        """
        return frames

    @abstractmethod
    def rate_units(self, rates: Tensor) -> Tensor:
        """Differences of rates (..., C, ...) → in units of their rms over the training data."""

    @abstractmethod
    def state_units(self, frames: Tensor) -> Tensor:
        """Differences of frames (..., C, ...) → in the unit that forecasts are trained in."""

    @abstractmethod
    def average(self, values: Tensor) -> Tensor:
        """Mean over channels and, by area, over space: (...) of (..., C, ...)."""

    @abstractmethod
    def mean_square_rate(self, rates: Tensor, matches: int) -> Tensor:
        """Mean squares (B,) of differences of rates (B · matches, C, ...) in natural units."""

    @abstractmethod
    def mean_square_state(self, frames: Tensor) -> Tensor:
        """Mean squares (B,) of differences of frames (B, H, C, ...) in natural units."""

    @abstractmethod
    def from_changes(self, values: Tensor) -> Tensor:
        """Units of the rms change per step (..., C, ...) → differences of frames."""

    # --- latents -------------------------------------------------------------------------------

    @abstractmethod
    def past(self, history: Tensor | None, latents: bool = True) -> Past:
        """What a history (N, K, C, ...) says; None where `memory` is 0.

        Args:
            history: frames up to the current one.
            latents: False: what follows is without them, and no prior of them is wanted.
        """

    @abstractmethod
    def infer(
        self, window: Window, past: Past, noise: Tensor | None = None
    ) -> tuple[LatentDistribution, Latents]:
        """The posterior of windows, and a draw by normal numbers (B, count), or the means.

        Raises:
            AssertionError: for a deterministic field.
        """

    @abstractmethod
    def context(self, past: Past, latents: Latents, repeats: int = 1) -> Context:
        """Of a past (N rows) and latents (N / repeats), each of which is for rows side by side."""

    def next_context(self, past: Past, latents: Latents | Members | None) -> Context:
        """The context of the next step: of latents; of members' next draw; of the prior's means.

        Args:
            past: of as many histories as there are rows of latents, or of samples of members.
            latents: None: the means of the prior that the past gives; nothing where the field is
                deterministic.
        """
        if isinstance(latents, Members):
            if 0 < past.rows < latents.rows:
                past = past.repeat(latents.rows // past.rows)
            return self.context(past, latents.draw(past.prior))
        if latents is None:
            assert past.prior is not None or self.latent_sizes is None
            latents = NO_LATENTS if past.prior is None else past.prior.mean
        return self.context(past, latents)

    def follows(self, frames: Iterable[Tensor]) -> Driving | None:
        """What a rollout is given of frames (N, C, ...) at the wanted times; None: nothing.

        They are asked for one by one.
        """
        return None

    def penalty(self) -> Tensor | None:
        """-log prior of learned θ up to a constant, a scalar; None where none is learned."""
        return None

    def members(self, seed: int, ids: Tensor, numbers: Sequence[int]) -> Members | None:
        """The draws of M members for samples (B,); None where nothing is drawn."""
        sizes = self.latent_sizes
        return None if sizes is None else Members(sizes, seed, ids, numbers)

    # --- dynamics ------------------------------------------------------------------------------

    def march(
        self,
        start: Tensor,
        history: Tensor,
        clock: Tensor,
        lengths: Tensor,
        latents: Latents | Members | None,
        solver: Solver | SplitSolver | None = None,
        checkpoint: bool = False,
        driving: Driving | None = None,
    ) -> Iterator[Tensor]:
        """Integrate from time to time, with gradients where they are enabled.

        Args:
            start: (N, ...) initial states.
            history: (N, K, C, ...) frames up to the initial one.
            clock: (N, n + 1) of the initial and the wanted states.
            lengths: (N, n) of the intervals, in the unit that rates are per.
            latents: the same at every step; or whose draws; None: as in `next_context`.
            solver: another than the field's.
            checkpoint: recompute activations backwards rather than keep them.
            driving: known states that are followed in part; None: none.

        Yields:
            (N, ...) states at the 2nd, 3rd, … time.
        """

        def condition(frames: Tensor) -> Context:
            return self.next_context(self.past(frames), latents)

        chosen = solver or self.solver
        return rollout(self, condition, start, history, clock, lengths, chosen, checkpoint, driving)


def check_grey_box(objective: str, field: object) -> None:
    """Refuse what has no tendency, such as a model that integrates states of its own.

    Raises:
        InputError: naming the objective that asked.
    """
    if not isinstance(field, GreyBoxField):
        raise InputError(
            f"{objective}: wants a grey-box field; {type(field).__name__} has its own objective"
        )
