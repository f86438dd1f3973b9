"""Which forecasts are computed together, and how they lie in a file.

A job is some starts and some members over all leads. Its forecasts are written a few leads at a
time, and what is written at once, a shard of each channel, is read by maps or by small groups of
them.

Shapes: ``N`` starts, ``M`` members, ``S`` leads, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

WRITE_BYTES = 128 * 2**20
"""Forecasts of all channels kept before they are written, where one lead is not more."""
STATE_BYTES = 2**30
"""States, with their history, that are forecast from at a time, where those of one are not more."""
CHUNK_BYTES = 2**20
"""Maps read at once, where one is not more."""
VALUE_BYTES = 4


@dataclass(frozen=True)
class Job:
    """Forecasts that are computed together.

    Attributes:
        number: of the job, from 0.
        starts: places of its starts.
        members: its members; None: one forecast without draws.
    """

    number: int
    starts: slice
    members: range | None


@dataclass(frozen=True)
class Jobs:
    """All jobs of a forecast.

    Attributes:
        starts: N.
        members: M; None: one forecast without draws.
        leads: S.
        channels: C.
        grid: (H, W).
        batch: starts times members in a job, at most; fewer where they do not fit `STATE_BYTES`.
        frames: states that a forecast starts from: its history and the current one.
    """

    starts: int
    members: int | None
    leads: int
    channels: int
    grid: tuple[int, int]
    batch: int
    frames: int = 1

    @cached_property
    def together(self) -> tuple[int, int, int]:
        """Starts and members of a job, and its leads that are written at once."""
        count = self.members or 1
        state = VALUE_BYTES * self.channels * self.grid[0] * self.grid[1]
        batch = max(1, min(self.batch, STATE_BYTES // (state * self.frames)))
        members = min(count, batch)
        starts = max(1, batch // count)
        maps = starts * members * self.channels
        lead = VALUE_BYTES * maps * self.grid[0] * self.grid[1]
        return starts, members, min(self.leads, max(1, WRITE_BYTES // lead))

    def __iter__(self) -> Iterator[Job]:
        """In the order of starts, then members."""
        starts, members, _ = self.together
        firsts = product(range(0, self.starts, starts), range(0, self.members or 1, members))
        for number, (n, m) in enumerate(firsts):
            some = range(m, min(m + members, self.members)) if self.members else None
            yield Job(number, slice(n, min(n + starts, self.starts)), some)

    def __len__(self) -> int:
        """How many."""
        starts, members, _ = self.together
        return -(-self.starts // starts) * -(-(self.members or 1) // members)

    @property
    def shards(self) -> tuple[int, ...]:
        """Shape of a shard (N, [M,] S, H, W): what is written at once of a channel."""
        starts, members, leads = self.together
        return (starts, *([members] if self.members else []), leads, *self.grid)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of a chunk: whole leads first, then members, then starts of a shard."""
        starts, members, leads = self.together
        maps = max(1, CHUNK_BYTES // (VALUE_BYTES * self.grid[0] * self.grid[1]))
        some = _divisor(leads, maps)
        few = _divisor(members, maps // some) if some == leads else 1
        many = _divisor(starts, maps // (some * few)) if few == members else 1
        return (many, *([few] if self.members else []), some, *self.grid)

    @property
    def encoding(self) -> dict[str, tuple[int, ...]]:
        """For Zarr: no shards where each would hold one chunk."""
        whole = {} if self.shards == self.chunks else {"shards": self.shards}
        return {"chunks": self.chunks, **whole}

    def files(self, job: Job, channels: Sequence[str]) -> list[str]:
        """Names of the shards of a job, in the folder of the forecast."""
        starts, members, leads = self.together
        place = [job.starts.start // starts]
        if job.members is not None:
            place.append(job.members.start // members)
        return [
            "/".join(map(str, (name, "c", *place, k, 0, 0)))
            for name in channels
            for k in range(-(-self.leads // leads))
        ]


def _divisor(number: int, most: int) -> int:
    """The largest divisor of a number that is not above another."""
    return next(d for d in range(max(1, min(number, most)), 0, -1) if number % d == 0)
