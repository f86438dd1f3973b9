"""Servers: what may pass is asked again, and what is gone or forbidden is said in one line.

The server answers:

    2xx, whole                  these bytes
    404                         absent
    401, 403                    denied: forbidden, or absent where the server does not list
    408, 425, 429, 5xx, cut     asked again, ever more seldom: for `UNKNOWN` seconds where it has
    short, nothing in time,     never answered, for `KNOWN` where it has; then refused
    no connection
    others                      refused
"""

from __future__ import annotations

import asyncio
import logging
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, TypeVar

from vgbdm.errors import InputError

log = logging.getLogger(__name__)
Found = TypeVar("Found")

UNKNOWN, KNOWN = 8.0, 300.0
"""Seconds for which a server is waited for that has never answered, and that has."""
FIRST_WAIT, LONGEST_WAIT = 0.25, 30.0
"""Seconds between tries."""
CONNECTION, SILENCE = 15.0, 30.0
"""Seconds for a connection, and without a byte, after which a request is given up."""
LONG, BETWEEN = 2.0, 20.0
"""Seconds of a wait that is told, and between two that are."""
FEWEST = 3
"""Tries, however long each takes, before a server is given up."""
TRANSFERS = 4
"""Tries of what comes whole by its own account, and is not by what it holds."""
PASSING = (408, 425, 429)
LASTING = (501, 505)
HERE = ("file", "local", "memory")
"""Schemes of URLs that lead to no server."""
Meaning = Literal["absent", "denied", "passing", "lasting"]


class AbsentError(FileNotFoundError):
    """The server says that there is no such key."""


class DeniedError(PermissionError):
    """The server does not give the key to this user, or hides that it is not there."""


class CutShortError(Exception):
    """Fewer bytes have come than there are."""


def reach(url: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a URL's fsspec backend, with limits of time where none are given."""
    found = dict(options)
    scheme = url.split("://", 1)[0]
    if scheme in ("http", "https", "gs", "gcs"):
        import aiohttp

        name = "client_kwargs" if scheme.startswith("http") else "session_kwargs"
        limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECTION, sock_read=SILENCE)
        found[name] = {"timeout": limits, **found.get(name, {})}
    if scheme in ("s3", "s3a"):
        own = {
            "connect_timeout": CONNECTION,
            "read_timeout": SILENCE,
            "retries": {"total_max_attempts": 1},
        }
        found["config_kwargs"] = {**own, **found.get("config_kwargs", {})}
    return found


def transfer(address: str, read: Callable[[], Found]) -> Found:
    """What is read; from a server again, where what comes cannot be decoded.

    Args:
        address: path or URL of what is read.
        read: reads it.
    """
    for _ in range(TRANSFERS - 1 if is_served(address) else 0):
        try:
            return read()
        except (InputError, ImportError):
            raise
        except Exception as error:  # every codec has errors of its own
            log.info("%s: %s; read again", address, reason_of(error))
    return read()


def meaning_of(error: BaseException) -> Meaning:
    """What an error of any fsspec backend says of the key that was asked for."""
    if isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError):
        cause = error.__cause__
        if cause is None or isinstance(cause, LookupError):  # as of a dictionary of files
            return "absent"
        return meaning_of(cause)
    status = _status(error)
    if isinstance(error, PermissionError) or str(error).startswith("Forbidden"):  # as gcsfs says it
        return "denied"
    if isinstance(error, TimeoutError | ConnectionError | CutShortError):
        return "passing"
    if status is not None:
        return _meaning_of_status(status)
    if "Credential" in type(error).__name__:
        return "denied"
    ours = (ValueError, TypeError, LookupError, AttributeError, ImportError, ArithmeticError)
    return "lasting" if isinstance(error, ours) else "passing"


def _meaning_of_status(status: int) -> Meaning:
    if status == 404:
        return "absent"
    if status in (401, 403):
        return "denied"
    return (
        "passing" if status in PASSING or (status >= 500 and status not in LASTING) else "lasting"
    )


def _status(error: BaseException | None) -> int | None:
    """Of HTTP, by aiohttp's, gcsfs's or botocore's error, or by what one was made of."""
    while error is not None:
        response = getattr(error, "response", None)
        answer = response.get("ResponseMetadata", {}) if isinstance(response, Mapping) else {}
        own = getattr(error, "status", None) or getattr(error, "code", None)
        held = str(own or answer.get("HTTPStatusCode"))
        if held.isdigit() and 100 <= int(held) < 600:
            return int(held)
        error = error.__cause__ if isinstance(error, OSError) else None  # which was made of another
    return None


def reason_of(error: BaseException) -> str:
    """A few words without line breaks: the status, else what the error says."""
    status = _status(error)
    if status is not None:
        return f"it answers {status}"
    if type(error).__name__ == "ClientPayloadError":
        return "its answer is cut short"
    text = str(error).strip().splitlines()
    return text[0][:200] if text else type(error).__name__


def is_served(address: str) -> bool:
    """Whether a path or URL leads to a server."""
    scheme, mark, _ = address.partition("://")
    return bool(mark) and scheme not in HERE


class Server:
    """Whoever answers for a URL, and what it has shown so far.

    Args:
        url: of what is read.
        remedy: what to do where it stays gone.
    """

    def __init__(self, url: str, remedy: str) -> None:
        self.url, self.remedy, self.answered = url.rstrip("/"), remedy, False
        self.told = float("-inf")

    def tell(self, what: str, reason: str, wait: float) -> None:
        """Log that something is waited for; now and then, for many wait for the same."""
        now = time.monotonic()
        if wait < LONG or now - self.told < BETWEEN:
            log.debug("%s: %s; asked again in %.1f s", what, reason, wait)
            return
        self.told = now
        log.warning("%s: %s; asked again in %.1f s", what, reason, wait)

    async def ask(self, request: Callable[[], Awaitable[Found]], what: str) -> Found:
        """The answer to a request, which is made again while what keeps it may pass.

        Args:
            request: makes it.
            what: is asked for, for messages.

        Raises:
            AbsentError: if the server says so.
            DeniedError: likewise.
            InputError: one line, for what does not pass.
        """
        tries = _Tries(self, what)
        while True:
            try:
                found = await request()
            except Exception as error:  # every backend has errors of its own
                await asyncio.sleep(tries.wait(error))
            else:
                self.answered = True
                return found

    def ask_now(self, request: Callable[[], Found], what: str) -> Found:
        """The same for what is no coroutine; of what is here, once."""
        if not is_served(self.url):
            return request()
        tries = _Tries(self, what)
        while True:
            try:
                found = request()
            except Exception as error:  # every backend has errors of its own
                time.sleep(tries.wait(error))
            else:
                self.answered = True
                return found


class _Tries:
    """Of one request."""

    def __init__(self, server: Server, what: str) -> None:
        self.server, self.what = server, what
        self.begun, self.count = time.monotonic(), 0
        self.spread = 0.5 + zlib.crc32(what.encode()) / 2**33  # many ask, and not all at once

    def wait(self, error: Exception) -> float:
        """Seconds until the next try.

        Raises:
            AbsentError, DeniedError, InputError: if there is to be none.
        """
        if isinstance(error, InputError | ImportError):
            raise error
        meaning, reason = meaning_of(error), reason_of(error)
        if meaning in ("absent", "denied"):
            self.server.answered = True
            raise (AbsentError if meaning == "absent" else DeniedError)(reason) from error
        spent = time.monotonic() - self.begun
        self.count += 1
        short = isinstance(error, CutShortError) and self.count >= TRANSFERS
        if meaning == "lasting" or short:
            raise InputError(f"{self.what}: cannot be read ({reason}); {self.server.remedy}")
        wait = min(FIRST_WAIT * 2.0 ** min(self.count - 1, 10), LONGEST_WAIT) * self.spread
        wait = max(wait, min(_asked_to_wait(error), LONGEST_WAIT))
        late = spent + wait > (KNOWN if self.server.answered else UNKNOWN)
        if late and self.count >= FEWEST:
            raise InputError(
                f"{self.what}: its server does not answer: {reason}, {self.count} tries in "
                f"{spent:.0f} s; {self.server.remedy}"
            )
        self.server.tell(self.what, reason, wait)
        return wait


def _asked_to_wait(error: BaseException) -> float:
    """Seconds by the server's own word; 0 where it gives none."""
    headers = getattr(error, "headers", None)
    text = headers.get("Retry-After", "") if isinstance(headers, Mapping) else ""
    return float(text) if str(text).isdigit() else 0.0
