"""A server of a folder, which lists nothing and fails as servers do.

python tests/support/web.py FOLDER PORT      serves it until it is ended
"""

from __future__ import annotations

import collections
import random
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from ports import free_port

FAULTS = ("500", "503", "429", "silence", "short", "cut", "closed")
"""Answers; nothing in time; half the body and the connection closed; half the body as if it were
all; the connection closed at once."""
SILENT_SECONDS = 0.6


class Web:
    """What a server does, and what it was asked.

    Args:
        folder: that is served.
        absent: status of what is not there.
        share: of the requests that fail, by chance of the seed, the path and how often it was
            asked for.
        seed: of these.
        kinds: of failures.
    """

    def __init__(
        self,
        folder: Path,
        absent: int = 404,
        share: float = 0.0,
        seed: int = 0,
        kinds: tuple[str, ...] = FAULTS,
    ) -> None:
        self.folder, self.absent, self.share, self.seed, self.kinds = (
            folder, absent, share, seed, kinds,
        )  # fmt: skip
        self.asked: collections.Counter[str] = collections.Counter()
        self.failed: collections.Counter[str] = collections.Counter()
        self.answers: dict[str, int] = {}
        self.left: float = float("inf")
        self.port = free_port()
        self.together: threading.Barrier | None = None
        self.lock = threading.Lock()
        self.server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """Where the folder is."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Serve, at the same port each time."""
        handler = type("Handler", (_Handler,), {"web": self})
        self.server = _Server(("127.0.0.1", self.port), handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Be gone: connections are refused."""
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def fault(self, path: str) -> str | None:
        """How this request fails, if it does."""
        with self.lock:
            self.asked[path] += 1
            self.left -= 1
            draw = random.Random(f"{self.seed} {path} {self.asked[path]}")
            found = draw.choice(self.kinds) if draw.random() < self.share else None
            if self.left < 0:
                found = "closed"
            if found:
                self.failed[found] += 1
        return found


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that gave up is nothing to tell."""


class _Handler(BaseHTTPRequestHandler):
    web: Web
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Nothing."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if self.web.together is not None and self.path[-1].isdigit():
            self.web.together.wait()  # for as many requests of chunks
        self._answer(self.web.fault(self.path))

    def _answer(self, fault: str | None) -> None:
        path = self.web.folder / self.path.lstrip("/")
        if fault in ("silence", "closed"):
            time.sleep(SILENT_SECONDS if fault == "silence" else 0)
            self.close_connection = True
        elif fault in ("500", "503", "429"):
            self._send(int(fault), b"<html>try again</html>")
        elif self.path in self.web.answers:
            self._send(self.web.answers[self.path], b"")
        elif not path.is_file():
            self._send(self.web.absent, b"<Error><Code>AccessDenied</Code></Error>")
        else:
            self._send(200, path.read_bytes(), fault)

    def _send(self, status: int, body: bytes, fault: str | None = None) -> None:
        part = self.headers.get("Range")
        if part and status == 200:
            first, last = part.removeprefix("bytes=").split("-")
            status, body = 206, body[int(first) : int(last) + 1] if first else body[-int(last) :]
        sent = body[: len(body) // 2] if fault in ("short", "cut") else body
        self.send_response(status)
        self.send_header("Content-Length", str(len(sent if fault == "cut" else body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(sent)
        self.close_connection |= fault == "short"


@contextmanager
def serving(folder: Path, **options: object) -> Iterator[Web]:
    """A server of a folder, as long as it is needed."""
    web = Web(folder, **options)
    web.start()
    try:
        yield web
    finally:
        web.stop()


if __name__ == "__main__":
    forever = Web(Path(sys.argv[1]))
    forever.port = int(sys.argv[2])
    forever.start()
    threading.Event().wait()
