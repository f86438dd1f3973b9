"""Writing in the background: one job at a time, and its error is not lost."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType

log = logging.getLogger(__name__)


class Writer:
    """Runs jobs in a thread beside training, at most one at a time.

    What a job takes must be its own: training goes on changing the weights. As a context it waits
    for the last job; the interpreter does not end before it either.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a job is under way."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def has_failed(self) -> bool:
        """Whether a job failed and nobody has asked yet."""
        return self._error is not None

    def begin(self, job: Callable[[], object]) -> None:
        """Start a job; the one before must have been waited for."""
        assert self._thread is None and self._error is None
        self._thread = threading.Thread(target=self._run, args=(job,), name="checkpoint writer")
        self._thread.start()

    def _run(self, job: Callable[[], object]) -> None:
        try:
            job()
        except Exception as error:
            self._error = error

    def join(self, seconds: float | None = None) -> None:
        """Wait for the job under way, at most so long."""
        if self._thread is not None:
            self._thread.join(seconds)

    def wait(self) -> Exception | None:
        """Wait for the job under way; its error, raised once."""
        self.join()
        error, self._thread, self._error = self._error, None, None
        return error

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        place: TracebackType | None,
    ) -> None:
        error = self.wait()
        if error is not None and failure is None:
            raise error
        if error is not None:
            log.error("%s", error)
