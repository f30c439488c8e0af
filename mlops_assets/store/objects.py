"""A store on an object store: S3 and what speaks like it, Google Cloud Storage, Azure, or this process's memory.

What belongs here: the ``Backend`` of a bucket, over obstore: conditional writes and what is true after a lost answer,
the local copies of large files, and what servers refuse, as sentences. What does not: what the files mean. Obstore is
imported with this module, so whoever may do without it imports this inside a function, as ``backend_at`` does.

There are no locks. A single object is written whole or not at all, and a write may ask that there be no object yet, or
that it still have the ETag that was seen: that decides who wins. Most servers make ETags of the content, so that bytes
that come back (A, B, A) look as if they had never changed; and an answer can get lost after a write was applied, so
that its own retry is refused. Both are harmless only where bytes are unique, as ``swap`` demands.
"""

import hashlib
import os
import random
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import MemoryStore, from_url

from mlops_assets.errors import CorruptError, StoreError
from mlops_assets.store import files
from mlops_assets.store.backend import Content, Entry, Mark, Staged, Written

THREADS = 32
"""How many small files are asked for at once."""

FRESH = 3600.0
"""Seconds for which a file is young enough not to be touched again."""

PATIENCE = timedelta(seconds=8)
"""How long a request is tried again; with the last try's own time no sentence waits much longer than ten seconds."""

SETTLE = 30.0
"""Seconds that nobody takes from looking at a file to moving a head to it, with the patience of all their requests."""

SILENCE = timedelta(seconds=5)
"""How long a server may think, or leave the line still."""

PAUSE = timedelta(milliseconds=100)
"""How long to wait before the second try; twice as long before each further one."""

TRIES = 5

WHOLE = 64 << 20
"""Bytes that one conditional request carries; more goes to a temporary name first, in parts."""

_SMALL = 256 << 10
_PART = 8 << 20
_PARTS = 9_000  # S3 takes 10,000
_STALE = 86_400.0
_DOWNLOADS = 3

_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    "abfs": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
_ENDPOINTS = {"s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"), "az": ("AZURE_STORAGE_ENDPOINT",)}
_SETTINGS = {"s3": "AWS", "gs": "GOOGLE", "az": "AZURE", "abfs": "AZURE"}
_FOR_GOOD: dict[int, str] = {
    HTTPStatus.NOT_IMPLEMENTED: "its server does not know conditional writes, which a store needs; use another",
    HTTPStatus.INSUFFICIENT_STORAGE: "its server is full; free some space, and run this again",
}
_BUCKETLESS = {"NoSuchBucket", "ContainerNotFound"}


class _UnsureError(StoreError):
    """What was asked for may have been done: the answer did not arrive, or does not say."""


class _BrokenOffError(_UnsureError):
    """The connection broke in the middle of a download."""


class _NotDoneError(StoreError):
    """Nothing was done, and the same may be asked again: no connection, or another write of the name is under way."""


class _Answer(NamedTuple):
    """What can be told from obstore's error, which is many lines with addresses and dumps, and is never shown."""

    status: int
    code: str
    kind: str
    text: str

    @classmethod
    def of(cls, trouble: Exception) -> "_Answer":
        text = str(trouble)
        status = re.search(r"status code: (\d{3})", text)
        code = re.search(r"<Code>(\w+)</Code>", text)
        kind = re.search(r"HttpError \{\s*kind: (\w+)", text)
        return cls(int(status[1]) if status else 0, code[1] if code else "", kind[1] if kind else "", text)


class _Process:
    """What this process shares: threads, the stores in memory, and whether obstore's own threads are still there."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.memory: dict[str, MemoryStore] = {}
        self.threads: ThreadPoolExecutor | None = None
        self.asked = False
        self.orphaned = False

    def after_fork(self) -> None:
        """In a forked child no thread is left: our own are made anew, obstore would wait for its for ever."""
        self.lock = Lock()
        self.threads = None
        self.orphaned = self.asked

    def store_in_memory(self, url: str) -> MemoryStore:
        with self.lock:
            return self.memory.setdefault(url, MemoryStore())

    def pool(self) -> ThreadPoolExecutor:
        with self.lock:
            if self.threads is None:
                self.threads = ThreadPoolExecutor(THREADS, thread_name_prefix="objects")
            return self.threads


_process = _Process()
os.register_at_fork(after_in_child=_process.after_fork)


class ObjectBackend:
    """A bucket, or a prefix in it; any number of processes and threads may use it at once.

    ``url`` is ``s3://bucket/prefix``, ``gs://``, ``az://container/prefix`` (or ``abfs://``), or ``memory://name``,
    which lives as long as this process. Credentials and endpoint come from the environment, by the names that the
    cloud's own tools use; plain http is spoken with this machine, and elsewhere if ``AWS_ALLOW_HTTP`` says so.
    ``cache`` is the folder for local copies, by default ``$MLOPS_ASSETS_CACHE``, or ``mlops_assets/blobs`` among the
    user's caches.

    Limits: S3 copies no more than 5 GiB at once, so larger files cannot be touched or renamed there. The server must
    know conditional writes (``If-None-Match``, ``If-Match``); S3, GCS, Azure, MinIO, R2 and Ceph do.
    """

    def __init__(self, url: str, cache: Path | None = None) -> None:
        self.url = _plain(url)
        self._scheme = self.url.partition("://")[0]
        self._cache = cache or default_cache()
        self._clients: dict[tuple[bool, bool], Any] = {}
        self._bucket_seen = False
        self._client()

    def read(self, path: str) -> bytes:
        """See ``Backend``."""
        return self._get(path)[0]

    def read_many(self, paths: Sequence[str]) -> Iterator[bytes | None]:
        """See ``Backend``; a few files ahead of the reader at most, so that memory holds no more than those."""
        waiting: deque[Future[bytes | None]] = deque()
        try:
            for path in paths:
                waiting.append(_process.pool().submit(self._get_any, path))
                if len(waiting) >= 2 * THREADS:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for request in waiting:
                request.cancel()

    def stream(self, path: str) -> Iterator[bytes]:
        """See ``Backend``."""
        with self._sentences(path, "read"):
            blocks = iter(self._client().get(path).stream(min_chunk_size=1 << 20))
        while True:
            try:
                with self._sentences(path, "read"):
                    block = next(blocks, None)
            except _UnsureError as trouble:
                raise _BrokenOffError(*trouble.sentences) from None
            if block is None:
                return
            yield block

    def stat(self, path: str) -> Entry | None:
        """See ``Backend``."""
        try:
            with self._sentences(path, "looked at"):
                found = self._client().head(path)
        except FileNotFoundError:
            self._look_for_bucket()
            return None
        return Entry(path, found["size"], found["last_modified"].timestamp())

    def create(self, path: str, content: Content) -> bool:
        """See ``Backend``; a refusal by the server is False, as on a disk.

        When an answer got lost and the retry is refused, equal bytes count as written by this call: whether somebody
        else wrote them cannot be told. Callers for whom exactly one of several equal writers must win even then put a
        nonce into the bytes.
        A function is not called when there is a file already.
        """
        if isinstance(content, bytes):
            patient = len(content) > _SMALL
            written, unsure = self._insist(lambda: self._put_once(path, content, "create", patient=patient))
            return written or (unsure and self._get_any(path) == content)
        if self.stat(path) is not None:
            return False
        with self._encoded(content) as file:
            if file.written.size <= WHOLE:
                written, unsure = self._insist(lambda: self._put_once(path, file.temporary, "create", patient=True))
            else:
                with self._uploaded_aside(file) as temporary:
                    written, unsure = self._insist(lambda: self._copy_once(temporary, path))
            if unsure and not written:
                with suppress(FileNotFoundError):
                    written = self.fingerprint(path) == file.written
            if written:
                self._verify_size(path, file.written)
        return written

    def write(self, path: str, content: Content) -> Written:
        """See ``Backend``."""
        with self.stage(path, content) as file:
            file.replace()
        return file.written

    def append(self, path: str, data: bytes) -> int | None:
        """See ``Backend``; objects do not grow."""
        del path, data
        return None

    def swap(self, path: str, data: bytes, seen: bytes | None) -> bool:
        """See ``Backend``.

        False can also mean that the answer got lost, and that another writer read ``data`` and replaced it before this
        call could look. ``StoreError`` when the server stops answering: then ``data`` may be there or not.
        """
        mode: str | dict[str, str] = "create"
        if seen is not None:
            try:
                current, mode = self._get(path)
            except FileNotFoundError:
                return False
            if current != seen:
                return False
        written, _ = self._insist(lambda: self._put_once(path, data, mode, patient=len(data) > _SMALL))
        # a refusal may be the answer to a retry, ours or a gateway's: the bytes are unique and tell
        return written or self._get_any(path) == data

    @contextmanager
    def stage(self, path: str, content: Content) -> Iterator[Staged]:
        """See ``Backend``; the bytes wait on the local disk (or in memory) until they take the name.

        ``replace`` sends them: an upload is whole or is not there, and a copy from a temporary name would cost as much
        again.
        """
        if isinstance(content, bytes):
            yield _Upload(self, path, content, Written(len(content), hashlib.sha256(content).hexdigest()))
        else:
            with self._encoded(content) as file:
                yield _Upload(self, path, file.temporary, file.written)

    def touch(self, path: str) -> bool:
        """See ``Backend``; for files whose bytes never change, since it writes what it found a moment ago.

        S3 refuses to copy an object onto itself, so it goes to a temporary name and back, without passing through here.
        A file younger than ``FRESH`` is left as it is: publishing the same content again and again costs one request
        each instead of four, and gc spares files for far longer than that.
        """
        found = self.stat(path)
        if found is None:
            return False
        if time.time() - found.modified < FRESH:
            return True
        temporary = _temporary()
        try:
            self._copy(path, temporary)
            self._copy(temporary, path)
        except FileNotFoundError:
            return False
        finally:
            # what stays is litter, and its trouble is not the caller's
            with suppress(StoreError):
                self.delete(temporary)
        return True

    def rename(self, path: str, to: str) -> bool:
        """See ``Backend``; a copy and a deletion, so for a moment the file has both names."""
        if path == to:
            return self.stat(path) is not None
        try:
            self._copy(path, to)
        except FileNotFoundError:
            return False
        self.delete(path)
        return True

    def delete(self, path: str) -> None:
        """See ``Backend``."""
        with suppress(FileNotFoundError), self._sentences(path, "deleted"):
            self._client().delete(path)

    def entries(self, folder: str) -> Iterator[Entry]:
        """See ``Backend``."""
        for entry in self._walk(folder):
            if not any(segment.startswith(".") for segment in entry.path.split("/")):
                yield entry

    def children(self, folder: str) -> tuple[list[str], list[str]]:
        """See ``Backend``."""
        with self._sentences(folder, "listed"):
            found = self._client().list_with_delimiter(folder or None)
        start = len(folder) + 1 if folder else 0
        folders = {path[start:] for path in found["common_prefixes"]}
        names = {entry["path"][start:] for entry in found["objects"]}
        # consoles keep an empty object in a folder's own name
        return _shown(folders), _shown(names - {""})

    def folders(self, folder: str) -> tuple[list[str], bool]:
        """See ``Backend``."""
        folders, names = self.children(folder)
        return folders, bool(names)

    def touched(self, folder: str) -> int | None:
        """See ``Backend``; a prefix is no thing that could change."""
        del folder
        return None

    def stamps(self, folder: str) -> list[tuple[str, int]] | None:
        """See ``Backend``; a prefix is no thing that could change."""
        del folder
        return None

    def marks(self, folder: str) -> dict[str, Mark | None] | None:
        """See ``Backend``; servers that make ETags of the content do, and not all list them."""
        del folder
        return None

    def clock(self) -> int | None:
        """See ``Backend``; there are no marks."""
        return None

    def litter(self) -> Iterator[Entry]:
        """See ``Backend``; parts of broken uploads are no objects: a lifecycle rule of the bucket removes them."""
        for entry in self._walk(""):
            name = PurePosixPath(entry.path).name
            if name.startswith(".") and name.endswith(".tmp"):
                yield entry

    def hold(self, key: str) -> AbstractContextManager[None]:
        """See ``Backend``; there are no locks here."""
        del key
        return nullcontext()

    def settle(self) -> None:
        """See ``Backend``; nobody else sees what is in memory."""
        if self._scheme != "memory":
            time.sleep(SETTLE)

    def local(self, path: str, written: Written) -> Path:
        """See ``Backend``; a copy is known by its sha256 and its size, whichever store it came from."""
        place = self._cache / written.sha256[:2] / f"{written.sha256}{PurePosixPath(path).suffix}"
        with suppress(FileNotFoundError):
            if place.stat().st_size == written.size:
                return place
        _sweep(place.parent)
        tries = _DOWNLOADS
        while True:
            tries -= 1
            try:
                self._fetch(path, place, written)
            except _BrokenOffError:
                if not tries:
                    raise
            else:
                return place

    def forget(self, path: str, written: Written) -> None:
        """See ``Backend``; copies that other machines made are theirs."""
        place = self._cache / written.sha256[:2] / f"{written.sha256}{PurePosixPath(path).suffix}"
        place.unlink(missing_ok=True)

    def fingerprint(self, path: str) -> Written:
        """See ``Backend``; the bytes pass through here, a part at a time."""
        digest = hashlib.sha256()
        size = 0
        for block in self.stream(path):
            digest.update(block)
            size += len(block)
        return Written(size, digest.hexdigest())

    def send(self, path: str, data: bytes | Path, written: Written) -> None:
        """Upload bytes, or a local file in parts, in place of whatever has the name; raises ``StoreError``."""
        part = max(_PART, -(-written.size // _PARTS))
        client = self._client(patient=written.size > _SMALL)
        with self._sentences(path, "written"):
            client.put(path, data, use_multipart=written.size > part, chunk_size=part, max_concurrency=4)
        if not isinstance(data, bytes):
            self._verify_size(path, written)

    # --- inside --------------------------------------------------------------------------------------------------

    def _client(self, *, patient: bool = False, once: bool = False) -> Any:
        """A connection pool: ``patient`` waits for long uploads and copies, ``once`` leaves trying again to us."""
        if self._scheme == "memory":
            return _process.store_in_memory(self.url)
        if (patient, once) not in self._clients:
            settings: dict[str, Any] = {
                "client_options": {
                    "allow_http": _may_speak_http(self._scheme),
                    "connect_timeout": timedelta(seconds=3),
                    # from the request's first byte to the answer's, and from any part of an answer to the next
                    "read_timeout": 12 * SILENCE if patient else SILENCE,
                    # all of a request, however large the file
                    "timeout": timedelta(days=1),
                },
                "retry_config": {
                    "max_retries": 0 if once else TRIES - 1,
                    "retry_timeout": PATIENCE,
                    "backoff": {"init_backoff": PAUSE, "max_backoff": 2**TRIES * PAUSE, "base": 2},
                },
            }
            if self._scheme == "s3" and "AWS_COPY_IF_NOT_EXISTS" not in os.environ:
                settings["config"] = {"copy_if_not_exists": "multipart"}
            try:
                self._clients[patient, once] = from_url(self.url, **settings)
            except (BaseError, ValueError):
                region = " and AWS_REGION" if self._scheme == "s3" else ""
                raise StoreError(
                    f"{self.url} is no place for a store as the environment stands: check the URL, "
                    f"{self._account()}{region}."
                ) from None
        return self._clients[patient, once]

    @contextmanager
    def _sentences(self, path: str, done: str) -> Iterator[None]:
        """Turn what obstore raises inside into a ``FileNotFoundError`` or ``StoreError`` of one sentence."""
        if _process.orphaned:
            raise StoreError(
                f"{self._at(path)} could not be {done}: this process was forked from one that had used an object "
                "store, and cannot use any itself; start processes with the method 'spawn'."
            )
        _process.asked = True
        try:
            yield
        except FileNotFoundError as trouble:
            answer = _Answer.of(trouble)
            if answer.code in _BUCKETLESS:
                raise self._explained(path, done, answer) from None
            raise FileNotFoundError(f"{self._at(path)} does not exist") from None
        except BaseError as trouble:
            raise self._explained(path, done, _Answer.of(trouble)) from None

    def _explained(self, path: str, done: str, answer: _Answer) -> StoreError:
        kind, reason = self._reason(answer)
        status = f" (HTTP {answer.status})" if answer.status else ""
        could = "may not have been" if kind is _UnsureError and done == "written" else "could not be"
        return kind(f"{self._at(path)} {could} {done}{status}: {reason}.")

    def _reason(self, answer: _Answer) -> tuple[type[StoreError], str]:  # noqa: PLR0911 - a list, in this order
        """What to raise, and a sentence's second half: why, and what to do."""
        status, code, kind, text = answer
        if code in _BUCKETLESS:
            return StoreError, "there is no such bucket; create it, or name another place"
        if re.search(r"/latest/(api|meta-data)/|//169\.254\.|//metadata\.google", text):
            # where a machine in the cloud asks for them, when the environment has none
            return StoreError, f"no credentials were found in the environment; set {self._account()}"
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return StoreError, (
                f"the server refused the credentials of the environment; check {self._account()}, and that they may "
                "list, read, write and delete there"
            )
        if "BadScheme" in text:
            allow = f"{_SETTINGS.get(self._scheme)}_ALLOW_HTTP=true"
            return StoreError, f"its server speaks plain http; set {allow} if you trust the network"
        if "without LOCATION" in text or code in {"PermanentRedirect", "AuthorizationHeaderMalformed"}:
            return StoreError, "the bucket is in another region; set AWS_REGION to that one"
        if kind == "Connect":
            return _NotDoneError, f"its server cannot be reached; check the network and {self._endpoint()}"
        if kind == "Timeout":
            return _UnsureError, "its server does not answer in time; run this again when it does"
        if kind:
            return _UnsureError, "the connection broke; check the network, and run this again"
        if status in _FOR_GOOD:
            return StoreError, _FOR_GOOD[status]
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
            return _UnsureError, "its server is in trouble or overloaded; run this again when it has recovered"
        if "larger than the maximum allowable size" in text:
            return StoreError, "it is larger than its server copies at once; make smaller batches"
        return StoreError, f"its server refused the request; check the URL and {self._endpoint()}"

    def _at(self, path: str) -> str:
        return f"{self.url}/{path}" if path else self.url

    def _account(self) -> str:
        return _CREDENTIALS.get(self._scheme, "the URL")

    def _endpoint(self) -> str:
        for name in _ENDPOINTS.get(self._scheme, ()):
            if name in os.environ:
                return name
        return self._account()

    def _look_for_bucket(self) -> None:
        """Once, when a file is missing: the answer to HEAD does not say whether the bucket is."""
        if not self._bucket_seen:
            self.children("")
            self._bucket_seen = True

    def _get(self, path: str) -> tuple[bytes, dict[str, str]]:
        """A file's bytes, and what a conditional write names them by."""
        with self._sentences(path, "read"):
            found = self._client().get(path)
            data = bytes(found.bytes())
            names = {name: found.meta[name] for name in ("e_tag", "version")}
        # a server knows one of them or both; obstore takes no None
        return data, {name: value for name, value in names.items() if value is not None}

    def _get_any(self, path: str) -> bytes | None:
        try:
            return self.read(path)
        except FileNotFoundError:
            return None

    def _fetch(self, path: str, place: Path, written: Written) -> None:
        """Download a file to a place in the cache, whole and verified or not at all."""
        with files.staged(place, lambda file: file.writelines(self.stream(path))) as copy:
            if copy.written != written:
                raise CorruptError(
                    f"{self._at(path)} is damaged: {copy.written.size} bytes with sha256 {copy.written.sha256[:12]}... "
                    f"arrived, {written.size} with {written.sha256[:12]}... were written; restore it, or make it again."
                )
            copy.replace()

    @contextmanager
    def _encoded(self, content: Content) -> Iterator[files.Staged]:
        """A local file with the content, gone afterwards."""
        folder = self._cache / "uploads"
        _sweep(folder)
        with files.staged(folder / "upload", content) as file:
            yield file

    @contextmanager
    def _uploaded_aside(self, file: files.Staged) -> Iterator[str]:
        temporary = _temporary()
        try:
            self.send(temporary, file.temporary, file.written)
            yield temporary
        finally:
            with suppress(StoreError):
                self.delete(temporary)

    def _insist(self, attempt: Callable[[], bool]) -> tuple[bool, bool]:
        """Make a conditional request until there is an answer: whether it was accepted, and whether one got lost.

        Not left to obstore, whose retry hides that there was a first try: a refusal says nothing then.
        """
        deadline = time.monotonic() + PATIENCE.total_seconds()
        pause = PAUSE.total_seconds()
        tries = TRIES
        unsure: _UnsureError | None = None
        while True:
            try:
                return attempt(), unsure is not None
            except (_UnsureError, _NotDoneError) as trouble:
                if isinstance(trouble, _UnsureError):
                    unsure = trouble
                tries -= 1
                if not tries or time.monotonic() >= deadline:
                    raise unsure or trouble from None
            # not the same for all, so that many who were refused together do not come back together
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
            pause *= 2

    def _put_once(self, path: str, data: bytes | Path, mode: str | dict[str, str], *, patient: bool) -> bool:
        client = self._client(patient=patient, once=True)
        return self._ask_once(path, lambda: client.put(path, data, mode=mode, use_multipart=False))

    def _copy_once(self, path: str, to: str) -> bool:
        client = self._client(patient=True, once=True)
        return self._ask_once(to, lambda: client.copy(path, to, overwrite=False))

    def _ask_once(self, path: str, request: Callable[[], object]) -> bool:
        with self._sentences(path, "written"):
            try:
                request()
            except (AlreadyExistsError, PreconditionError) as refusal:
                answer = _Answer.of(refusal)
                if answer.code in _BUCKETLESS:
                    raise
                if answer.code == "ConditionalRequestConflict":
                    raise _NotDoneError(
                        f"{self._at(path)} could not be written: others write it all the time; run this again."
                    ) from None
                return False
        return True

    def _copy(self, path: str, to: str) -> None:
        with self._sentences(path, "copied"):
            self._client(patient=True).copy(path, to)

    def _verify_size(self, path: str, written: Written) -> None:
        found = self.stat(path)
        if found is None or found.size != written.size:
            # also when somebody else has replaced it meanwhile: then the caller's bytes are not there either
            there = 0 if found is None else found.size
            raise StoreError(
                f"{self._at(path)} could not be written: {there} bytes are there instead of {written.size}; "
                "run this again."
            )

    def _walk(self, folder: str) -> Iterator[Entry]:
        # obstore's prefixes end at a "/", so that "a" does not mean "ab"
        with self._sentences(folder, "listed"):
            pages = iter(self._client().list(folder or None, chunk_size=1000))
        while True:
            with self._sentences(folder, "listed"):
                page = next(pages, None)
            if page is None:
                return
            for found in page:
                if found["path"] not in {"", folder}:
                    yield Entry(found["path"], found["size"], found["last_modified"].timestamp())


class _Upload:
    """Bytes, or a local file, on their way to a name."""

    def __init__(self, backend: ObjectBackend, path: str, data: bytes | Path, written: Written) -> None:
        self._backend = backend
        self._path = path
        self._data = data
        self.written = written

    def replace(self) -> None:
        """Take the name, in place of whatever had it."""
        self._backend.send(self._path, self._data, self.written)


def default_cache() -> Path:
    """The folder for local copies of what object stores hold, from the environment."""
    if folder := os.environ.get("MLOPS_ASSETS_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlops_assets" / "blobs"


def _plain(url: str) -> str:
    """The URL without its last ``/``; raises ``StoreError`` for one with a secret in it, which is not repeated."""
    parts = urlsplit(url)
    account, _, host = parts.netloc.rpartition("@")
    # abfs://container@account.dfs.core.windows.net is how Azure names a container
    named = parts.scheme in {"az", "abfs"} and ":" not in account
    if (account and not named) or parts.query or parts.fragment:
        raise StoreError(
            f"A URL such as {parts.scheme}://{host}{parts.path} must hold no user, password, key or '?': "
            f"put credentials into the environment ({_CREDENTIALS.get(parts.scheme, 'none are needed')})."
        )
    if not host and parts.scheme != "memory":
        raise StoreError(f"{url} names no bucket; write {parts.scheme}://bucket/prefix.")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _may_speak_http(scheme: str) -> bool:
    if os.environ.get(f"{_SETTINGS[scheme]}_ALLOW_HTTP", "").lower() in {"1", "true", "yes"}:
        return True
    endpoints = (os.environ.get(name, "") for name in _ENDPOINTS.get(scheme, ()))
    return any(urlsplit(endpoint).hostname in {"127.0.0.1", "localhost", "::1"} for endpoint in endpoints)


def _temporary() -> str:
    return f".{os.getpid()}-{os.urandom(6).hex()}.tmp"


def _shown(names: set[str]) -> list[str]:
    return sorted(name for name in names if not name.startswith("."))


def _sweep(folder: Path) -> None:
    """Remove what killed processes left in a folder of the cache."""
    for file in folder.glob(".*.tmp"):
        with suppress(FileNotFoundError):
            if time.time() - file.stat().st_mtime > _STALE:
                file.unlink()
