"""Credentials do not belong in files that are handed on: they are masked as they are written."""

from __future__ import annotations

import re
from typing import Any

MASK = "***"
SECRET = (
    r"(?:[\w-]*[_-])?(?:token|passw(?:or)?d|pwd|secret|key|sig(?:nature)?|credentials?|auth"
    r"(?:orization)?|bearer|connection_?string|cookie|sas)"
)
SECRET_NAME = re.compile(SECRET, re.IGNORECASE)
USER = re.compile(r"(\w:/{1,2})[^/@\s]+@")  # a URL that went through a path has one slash
QUERY = re.compile(rf"([?&]{SECRET}=)[^&#\s]+", re.IGNORECASE)
HARMLESS = (None, True, False, "", "anon")
"""Values that are no secret, such as ``token: anon`` for public buckets."""
OPTIONS = "storage_options"
"""What reaches a URL: nobody knows which of its values are secret, so all of them are."""
TOLD = re.compile(
    rf"""({OPTIONS}[\w.]*['"]?\s*[=:]\s*)(\{{(?:[^{{}}]|\{{[^{{}}]*\}})*\}}|[^\s{{]\S*)"""
)
"""The same on a command line, and in what is said of one."""
SHORTEST = 4
"""Characters of a value that is looked for in texts; a shorter one stands in too many words."""

_known: set[str] = set()


def remember(config: Any) -> None:
    """From now on `mask_text` knows the secrets of a config, wherever a text repeats them."""
    _known.update(value for value in _secrets(config) if len(value) >= SHORTEST)


def _secrets(value: Any, inside: bool = False) -> set[str]:
    """What `mask` would mask in a JSON value, as texts."""
    if isinstance(value, dict):
        pairs = ((inside or name == OPTIONS or _is_secret(name, v), v) for name, v in value.items())
        return {text for within, held in pairs for text in _secrets(held, within)}
    if isinstance(value, list):
        return {text for held in value for text in _secrets(held, inside)}
    return {str(value)} if inside and value not in HARMLESS else set()


def mask_text(text: str) -> str:
    """A text with the users, passwords and tokens of its URLs masked, and what is remembered."""
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, MASK)
    text = TOLD.sub(rf"\1{MASK}", text)
    return QUERY.sub(rf"\1{MASK}", USER.sub(rf"\1{MASK}@", text))


def mask(value: Any) -> Any:
    """A JSON value with credentials masked.

    That is: in URLs, whatever a name such as ``token`` holds, and all under ``storage_options``
    but the names there.

    Args:
        value: mappings, lists and plain values; it is not changed.
    """
    if isinstance(value, dict):
        return {k: _mask_named(str(k), v) for k, v in value.items()}
    if isinstance(value, list):
        return [mask(v) for v in value]
    return mask_text(value) if isinstance(value, str) else value


def _mask_named(name: str, value: Any) -> Any:
    if name == OPTIONS:
        return _mask_all(value)
    return MASK if _is_secret(name, value) else mask(value)


def _is_secret(name: Any, value: Any) -> bool:
    plain = not isinstance(value, dict | list)
    return plain and value not in HARMLESS and SECRET_NAME.fullmatch(str(name)) is not None


def _mask_all(value: Any) -> Any:
    """Every value masked, whatever it is; names and the shape stay."""
    if isinstance(value, dict):
        return {name: _mask_all(held) for name, held in value.items()}
    return [_mask_all(held) for held in value] if isinstance(value, list) else MASK
