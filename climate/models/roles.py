"""What the channels of a state are to a model (docs/method/weather.md#roles).

Prognostic channels are stepped forward by their own rate. A forcing channel is known ahead: within
a step it moves linearly to its known value, and it counts in no loss and no score. A diagnostic
channel is predicted from the others and seen by none: it begins each step at 0, its mean in
training, and its rate comes to its value at the step's end.

Shapes: ``B`` samples, ``C`` channels, ``P`` prognostic ones, ``K`` forcing, ``D`` diagnostic,
``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from vgbdm.errors import InputError
from vgbdm.options.nearest import one_of

ROLES = ("forcing", "diagnostic")
"""Of channels that are not prognostic."""


def read_roles(
    roles: Mapping[str, Sequence[str]],
    channels: Sequence[str],
    vectors: Sequence[tuple[str, str]],
    where: str,
) -> dict[str, tuple[str, ...]]:
    """Role → its channels, in the order of the state.

    Args:
        roles: of `ROLES`, the names of channels that have them; all others are prognostic.
        channels: of the state.
        vectors: pairs of them, whose parts are moved together.
        where: the channels are from, for messages.

    Raises:
        InputError: for a name that is no channel, is named twice, or is a part of a vector; if no
            prognostic channel is left.
    """
    named: dict[str, str] = {}
    for role in ROLES:
        for name in roles.get(role, ()):
            if name not in channels:
                raise InputError(
                    f"roles.{role}: {name} is no channel of {where}{one_of(name, channels)}"
                )
            if name in named:
                raise InputError(
                    f"roles.{role}: {name} is named in roles.{named[name]} too; a channel has one "
                    "role, name it once"
                )
            pair = next((pair for pair in vectors if name in pair), None)
            if pair is not None:
                raise InputError(
                    f"roles.{role}: {name} is a part of the vector [{', '.join(pair)}], which is "
                    "prognostic; leave it out here, or the pair out of vectors="
                )
            named[name] = role
    if len(named) == len(channels):
        raise InputError(
            "roles: no channel is prognostic, so there is nothing to step forward; leave out one "
            f"of {', '.join(channels)}"
        )
    return {role: tuple(n for n in channels if named.get(n) == role) for role in ROLES}


def role_lines(forcing: Sequence[str], diagnostic: Sequence[str]) -> list[str]:
    """One line on the channels of each role, where there are some."""
    said = {
        "known ahead, and given to forecasts": forcing,
        "predicted from the others, and not fed back": diagnostic,
    }
    return [f"roles: {', '.join(names)}: {line}" for line, names in said.items() if names]


class Parts(nn.Module):
    """The channels of states by their roles; without roles, all is handed back as it is.

    Args:
        channels: of the state.
        forcing: those known ahead.
        diagnostic: those predicted and not fed back.
    """

    own: Tensor
    """(P,) the prognostic channels."""
    forced: Tensor
    """(K,) the forcing ones."""
    diagnosed: Tensor
    """(D,) the diagnostic ones."""
    seen: Tensor
    """(P + K,) those that networks see."""
    order: Tensor
    """(C,) the place of each channel among the prognostic, the forcing, the diagnostic ones."""
    anew: Tensor
    """(C, 1, 1) which channels begin anew at each step."""
    aside: Tensor
    """(C, 1, 1) which channels are not prognostic."""
    given: Tensor
    """(C, 1, 1) 1 of channels that are known ahead, 0 of others."""
    counted: Tensor
    """(C, 1, 1) weights of channels in losses: 0 of forcing ones, the others' of mean C ÷ (P+D)."""

    def __init__(
        self, channels: Sequence[str], forcing: Sequence[str], diagnostic: Sequence[str]
    ) -> None:
        super().__init__()
        forced, diagnosed = (
            [channels.index(name) for name in names] for names in (forcing, diagnostic)
        )
        count = len(channels)
        own = [i for i in range(count) if i not in {*forced, *diagnosed}]
        self.sizes = len(own), len(forced), len(diagnosed)
        tables = {
            "own": own,
            "forced": forced,
            "diagnosed": diagnosed,
            "seen": sorted([*own, *forced]),
            "order": [[*own, *forced, *diagnosed].index(i) for i in range(count)],
        }
        for name, places in tables.items():
            self.register_buffer(name, torch.tensor(places, dtype=torch.long), persistent=False)
        anew, aside = torch.zeros(2, count, 1, 1, dtype=torch.bool)
        anew[diagnosed] = True
        aside[[*forced, *diagnosed]] = True
        given = torch.zeros(count, 1, 1)
        given[forced] = 1.0
        counted = torch.full((count, 1, 1), count / max(count - len(forced), 1))
        counted[forced] = 0.0
        shares = {"anew": anew, "aside": aside, "given": given, "counted": counted}
        for name, values in shares.items():
            self.register_buffer(name, values, persistent=False)

    @property
    def any(self) -> bool:
        """Whether a channel is not prognostic."""
        return bool(self.sizes[1] or self.sizes[2])

    def prognostic(self, x: Tensor) -> Tensor:
        """(..., C, H, W) → (..., P, H, W)."""
        return x.index_select(-3, self.own) if self.any else x

    def diagnostic(self, x: Tensor) -> Tensor:
        """(..., C, H, W) → (..., D, H, W)."""
        return x.index_select(-3, self.diagnosed)

    def shown(self, x: Tensor) -> Tensor:
        """What networks see of states: (..., C, H, W) → (..., P + K, H, W)."""
        return x.index_select(-3, self.seen) if self.sizes[2] else x

    def begun(self, x: Tensor) -> Tensor:
        """States (..., C, H, W) as a step begins: diagnostic channels at 0."""
        return x.masked_fill(self.anew, 0.0) if self.sizes[2] else x

    def quiet(self, x: Tensor) -> Tensor:
        """(..., C, H, W) with 0 where a channel is not prognostic."""
        return x.masked_fill(self.aside, 0.0) if self.any else x

    def joined(
        self, own: Tensor | None, forcing: Tensor | None = None, diagnosed: Tensor | None = None
    ) -> Tensor:
        """Fields (B, C, H, W) of parts, at least one of which is there; 0 for others.

        Args:
            own: (B, P, H, W) of prognostic channels.
            forcing: (B, K, H, W) of forcing ones.
            diagnosed: (B, D, H, W) of diagnostic ones.
        """
        given = own, forcing, diagnosed
        like = next(x for x in given if x is not None)
        if not self.any:
            return like
        none = like.new_zeros((len(like), 1, 1, 1))
        parts = [
            none.expand(-1, size, *like.shape[2:]) if x is None else x
            for x, size in zip(given, self.sizes, strict=True)
        ]
        return torch.cat(parts, 1).index_select(1, self.order)
