"""Arguments of Python functions, held to types as options of commands are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError

from vgbdm.errors import InputError
from vgbdm.options.check import show, type_of
from vgbdm.options.describing import describe

STRICT = ConfigDict(strict=True, allow_inf_nan=False)


def hold(kinds: Mapping[str, Any], **given: Any) -> dict[str, Any]:
    """Arguments whose types and ranges are right; numbers of numpy as Python's, tuples as lists.

    Args:
        kinds: by name of an argument, its annotation.
        given: arguments, some of those.

    Raises:
        InputError: for the first that is not what its annotation says.
    """
    held = {}
    for name, value in given.items():
        plain = value.item() if isinstance(value, np.generic) else value
        plain = list(plain) if isinstance(plain, tuple) else plain
        try:
            TypeAdapter(type_of(kinds[name]), config=STRICT).validate_python(plain)
        except ValidationError:
            raise InputError(f"{name}={show(value)}: want {describe(kinds[name])}") from None
        held[name] = plain
    return held
