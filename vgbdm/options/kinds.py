"""Types that options share, for the signatures that configs are checked against.

A class says the range of an option where it says its type: ``width: Size``. For a range that is not
here: ``Annotated[float, Interval(gt=0, lt=1)]``, with the words of `annotated_types`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Interval, Len, MinLen

MOST = 2**31 - 1
LARGEST = 2**16
"""Of the sizes of a model, as `vgbdm.registry.build.rebuild` takes them."""


@dataclass(frozen=True)
class Unit:
    """What a number is counted in, such as ``m/s``."""

    name: str


@dataclass(frozen=True)
class Divides:
    """A whole number that divides another option of the same node.

    Attributes:
        other: its name.
    """

    other: str


@dataclass(frozen=True)
class Below:
    """A number that is less than another option of the same node.

    Attributes:
        other: its name.
        equal: whether it may be the same.
    """

    other: str
    equal: bool = False


@dataclass(frozen=True, init=False)
class With:
    """An option that does something only with another of the same node.

    Attributes:
        other: its name.
        values: it must have one of these; where there are none, any but null.
    """

    other: str
    values: tuple[Any, ...]

    def __init__(self, other: str, *values: Any) -> None:
        object.__setattr__(self, "other", other)
        object.__setattr__(self, "values", values)

    def holds(self, other: Any) -> bool:
        """Whether the other option has such a value."""
        return other in self.values if self.values else other is not None

    def __str__(self) -> str:
        """What must be given."""
        plain = {None: "null", True: "true", False: "false"}
        told = [plain.get(v, v) if isinstance(v, bool | None) else v for v in self.values]
        return " or ".join(f"{self.other}={value}" for value in told) or self.other


@dataclass(frozen=True)
class Words:
    """What a text or value is, in words that stand for its type, such as ``a date``."""

    text: str


@dataclass(frozen=True)
class Of:
    """Options that are those of a class or function, by name and without ``_target_``.

    Attributes:
        target: dotted; it is read, not imported.
        given: its parameters that the caller gives, which are no options.
        beside: further options, as a class of `Options`; None: no others.
    """

    target: str
    given: tuple[str, ...] = ()
    beside: type | None = None


@dataclass(frozen=True)
class Node:
    """What ``_target_`` names, with the options of that class.

    Attributes:
        positional: how many of its parameters the caller gives by position.
        given: those that the caller gives by name.
        beside: as in `Of`.
    """

    positional: int = 0
    given: tuple[str, ...] = ()
    beside: type | None = None


@dataclass(frozen=True)
class Nodes:
    """Name → `Node`."""


Count = Annotated[int, Interval(ge=1, le=MOST)]
WholeNumber = Annotated[int, Interval(ge=0, le=MOST)]
Size = Annotated[int, Interval(ge=1, le=LARGEST)]
Depth = Annotated[int, Interval(ge=1, le=64)]
Kernel = Annotated[int, Interval(ge=1, le=63)]
Frames = Annotated[int, Interval(ge=0, le=LARGEST)]
Seed = Annotated[int, Interval(ge=0, le=2**63 - 1)]
AtLeastTwo = Annotated[int, Interval(ge=2, le=LARGEST)]
Positive = Annotated[float, Gt(0)]
Budget = Annotated[float, Ge(0.01), Unit("minutes")]
"""Of time."""
NotNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Interval(ge=0, le=1)]
Precision = Literal["fp32", "bf16"]
Text = Annotated[str, MinLen(1)]
Names = Annotated[list[Text], MinLen(1)]
Pair = Annotated[Sequence[float], Len(2, 2)]
Node_ = Annotated[Any, Node()]
NodesByName = Annotated[Mapping[str, Any], Nodes()]
