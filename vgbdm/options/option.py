"""One option as help, completion and the reference page show it, and the list of a launcher's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from vgbdm.options.describing import describe
from vgbdm.options.shapes import Shape, options_in, plain, shape_of
from vgbdm.options.signatures import REQUIRED

__all__ = ["REQUIRED", "Option", "options_of"]


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        key: dotted.
        kind: its type in words, such as ``whole number``.
        default: the value in the config; `REQUIRED` where it must be given.
        bounds: such as ``> 0`` or ``0 … 1``; empty for none.
        unit: such as ``m/s``; empty for none.
        choices: all values that it may have; empty where there are others.
        sentence: what it means.
        common: whether most users meet it.
        group: the first part of its key; empty at the top.
        nullable: whether null may be given, for none.
        only: with which other option it does something; empty for any.
    """

    key: str
    kind: str
    default: Any
    bounds: str
    unit: str
    choices: tuple[str, ...]
    sentence: str
    common: bool
    group: str
    nullable: bool = False
    only: str = ""


def options_of(launcher: str, config: DictConfig) -> list[Option]:
    """Every option of a launcher as a config chooses its classes; imports no torch.

    Args:
        launcher: name of its config, such as ``train_era5``.
        config: composed; values may be missing.

    Raises:
        InputError: for a config whose classes may not be built, or a launcher without a schema.
    """
    return _listed(shape_of(launcher, plain(config)), "", frozenset())


def _listed(shape: Shape, above: str, common: frozenset[str]) -> list[Option]:
    found: list[Option] = []
    common |= {f"{above}{name}" for name in shape.common}
    for name, spec in shape.specs.items():
        key = f"{above}{name}"
        if name.startswith("_"):
            continue
        below = [] if spec.shape is None else _listed(spec.shape, f"{key}.", common)
        if spec.shape is not None and options_in(spec.annotation) is None:
            found += below
            continue
        told = describe(spec.annotation)
        found.append(
            Option(
                key,
                told.kind,
                spec.value if spec.shape is None else None,
                told.bounds,
                told.unit,
                told.choices,
                spec.sentence,
                key in common or spec.value is REQUIRED,
                key.partition(".")[0] if "." in key else "",
                told.nullable,
                told.only,
            )
        )
        found += below
    return found
