"""Where encoders write: a file whose bytes are written, counted and hashed in one pass.

What belongs here: taking an encoder's bytes, and hashing beside it when they are many. What does not: which file it is,
and when it gets its name (``files``).
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
"""Chunks by which an encoder may be ahead of their hash; they wait in memory."""


class Sink(io.RawIOBase):
    """The file of a descriptor. ``finish`` it when all was written, ``stop`` it in any case.

    Of a large file, the rest is hashed by a thread, beside the encoder: neither needs Python's lock for that.
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
        """Bytes that were written."""
        return self._size

    def write(self, data: object) -> int:
        """Write all of some bytes; raises ``OSError``."""
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        done = 0
        # on a full disk os.write may write a part and report no error
        while done < len(view):
            done += os.write(self._descriptor, view[done:])
        self._size += done
        if self._size < LARGE:
            self._sha256.update(view)
        else:
            # an encoder may use its buffer again
            self._pieces.append(data if isinstance(data, bytes) else bytes(view))
            self._waiting += done
            if self._waiting >= _CHUNK:
                self._hand_over()
        return done

    def finish(self) -> Written:
        """Size and sha256 of all that was written."""
        if self._pieces:
            self._hand_over()
        while self._handed:
            self._handed.popleft().result()
        return Written(self._size, self._sha256.hexdigest())

    def stop(self) -> None:
        """Hash nothing more."""
        if self._thread:
            self._thread.shutdown(cancel_futures=True)

    def _hand_over(self) -> None:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "store-sink")
        if len(self._handed) >= _AHEAD:
            self._handed.popleft().result()
        self._handed.append(self._thread.submit(self._hash, self._pieces))
        self._pieces, self._waiting = [], 0

    def _hash(self, pieces: list[bytes]) -> None:
        for piece in pieces:
            self._sha256.update(piece)
