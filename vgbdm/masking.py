"""Credentials do not belong in files that are handed on: they are masked as they are written."""

from __future__ import annotations

import re
from typing import Any

MASK = "***"
SECRET = r"(?:[\w-]*[_-])?(?:token|passw(?:or)?d|secret|key|sig(?:nature)?|credentials?)"
NAME = re.compile(SECRET, re.IGNORECASE)
USER = re.compile(r"(\w:/{1,2})[^/@\s]+@")  # a URL that went through a path has one slash
QUERY = re.compile(rf"([?&]{SECRET}=)[^&#\s]+", re.IGNORECASE)
HARMLESS = (None, True, False, "", "anon")
"""Values that are no secret, such as ``token: anon`` for public buckets."""


def mask_text(text: str) -> str:
    """A text with the users, passwords and tokens of its URLs masked."""
    return QUERY.sub(rf"\1{MASK}", USER.sub(rf"\1{MASK}@", text))


def mask(value: Any) -> Any:
    """A JSON value with credentials masked: in URLs, and whatever a name such as ``token`` holds.

    Args:
        value: mappings, lists and plain values; it is not changed.
    """
    if isinstance(value, dict):
        return {k: _mask_named(str(k), v) for k, v in value.items()}
    if isinstance(value, list):
        return [mask(v) for v in value]
    return mask_text(value) if isinstance(value, str) else value


def _mask_named(name: str, value: Any) -> Any:
    plain = not isinstance(value, dict | list)
    secret = plain and NAME.fullmatch(name) and value not in HARMLESS
    return MASK if secret else mask(value)
