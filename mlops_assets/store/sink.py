"""Where encoders write: a file whose bytes are written, counted and hashed in one pass.

What belongs here: taking an encoder's bytes, and doing so beside it when they are many. What does not: which file it
is, and when it gets its name (``files``).
"""

import hashlib
import io
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

from mlops_assets.store.backend import Written

LARGE = 16 << 20
"""Bytes from which on a thread of its own is worth starting."""

_CHUNK = 1 << 20
_AHEAD = 4
"""Chunks by which an encoder may be ahead of the disk; they wait in memory."""


class Sink(io.RawIOBase):
    """The file of a descriptor. ``finish`` it when all was written, ``stop`` it in any case.

    Of a large file, the rest is written and hashed by a thread, beside the encoder: neither needs Python's lock for
    that. What the thread could not write is raised by a later ``write``, or by ``finish``.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._sha256 = hashlib.sha256()
        self._size = 0
        self._thread: ThreadPoolExecutor | None = None
        self._pieces: list[bytes] = []
        self._waiting = 0
        self._handed: deque[Future[None]] = deque()

    def writable(self) -> bool:
        """Yes: encoders ask."""
        return True

    def tell(self) -> int:
        """Bytes that were taken."""
        return self._size

    def write(self, data: object) -> int:
        """Take all of some bytes; raises ``OSError`` when the disk refuses these or earlier ones."""
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        self._size += len(view)
        if self._size < LARGE:
            self._put([view])
            return len(view)
        # an encoder may use its buffer again
        self._pieces.append(data if isinstance(data, bytes) else bytes(view))
        self._waiting += len(view)
        if self._waiting >= _CHUNK:
            self._hand_over()
        return len(view)

    def finish(self) -> Written:
        """Size and sha256 of all that was taken, once it is written; raises as ``write``."""
        if self._pieces:
            self._hand_over()
        while self._handed:
            self._handed.popleft().result()
        return Written(self._size, self._sha256.hexdigest())

    def stop(self) -> None:
        """Write nothing more."""
        if self._thread:
            for job in self._handed:
                job.cancel()
            self._thread.submit(os.close, self._descriptor)
            self._thread.shutdown()
            self._thread = None

    def _hand_over(self) -> None:
        if self._thread is None:
            # a number of its own: were the wait for the thread broken off, it must not write to the next file of ours
            self._descriptor = os.dup(self._descriptor)
            self._thread = ThreadPoolExecutor(1, "store-sink")
        if len(self._handed) >= _AHEAD:
            self._handed.popleft().result()
        self._handed.append(self._thread.submit(self._put, self._pieces))
        self._pieces, self._waiting = [], 0

    def _put(self, pieces: "list[bytes] | list[memoryview]") -> None:
        for piece in pieces:
            done = 0
            view = memoryview(piece)
            # on a full disk os.write may write a part and report no error
            while done < len(view):
                done += os.write(self._descriptor, view[done:])
            self._sha256.update(view)
