"""One file over HTTP: resumed by range, verified, fetched anew where it is wrong, and named only when it is whole."""

import re
import threading
from collections.abc import Callable
from pathlib import Path

import requests

from kidney_lab.data.download.http import (
    InterruptedTransferError,
    Patience,
    RefusedError,
    StoppedError,
    check_status,
    explained,
    persist,
    whole,
)
from kidney_lab.data.download.part import Identity, Part
from kidney_lab.data.download.source import RemoteFile
from kidney_lab.data.download.verify import problem_of

_CHUNK = 1 << 18
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_RANGE_NOT_SATISFIABLE = 416


def fetch(
    session: requests.Session,
    file: RemoteFile,
    root: Path,
    *,
    patience: Patience,
    stopped: threading.Event,
    on_bytes: Callable[[int], None],
) -> None:
    """Fetches a file into `root`, going on with what an earlier run left of it.

    Args:
        session: may serve several threads.
        file: what to fetch.
        root: folder below which it goes.
        patience: with the server.
        stopped: ends the transfer; what came stays for the next run.
        on_bytes: called with the number of bytes that came, or, negative, with those that were thrown away.

    Raises:
        FetchError: the file cannot be had, or is wrong each time.
        StoppedError: `stopped` was set.
        OSError: it cannot be written.
    """
    part = Part(root / file.path)
    part.target.parent.mkdir(parents=True, exist_ok=True)

    def attempt() -> None:
        _receive(session, file.url, part, patience.timeout, stopped, on_bytes)
        problem = problem_of(part.path, part.target.name)
        if problem is not None:
            _discard(part, on_bytes)
            raise InterruptedTransferError(f"what came is not the file: {problem}")
        part.finish()

    persist(attempt, patience, stopped, reached=lambda: part.size)


def size_of(session: requests.Session, url: str, patience: Patience, stopped: threading.Event) -> int | None:
    """Asks a server how large a file is.

    Args:
        session: may serve several threads.
        url: of the file.
        patience: with the server.
        stopped: ends the waiting.

    Returns:
        Bytes; None where the server does not say, or refuses: then fetching the file will tell why.

    Raises:
        UnreachableError: it does not answer.
        StoppedError: `stopped` was set.
    """

    def attempt() -> int | None:
        with explained(patience.timeout):
            response = session.head(url, timeout=patience.timeout, allow_redirects=True)
        # The Hugging Face hub says the size before it redirects to a store that may refuse HEAD.
        for answer in (*response.history, response):
            if "X-Linked-Size" in answer.headers:
                return whole(answer.headers["X-Linked-Size"])
        check_status(response)
        return whole(response.headers.get("Content-Length"))

    try:
        return persist(attempt, patience, stopped)
    except RefusedError:
        return None


def _receive(
    session: requests.Session,
    url: str,
    part: Part,
    timeout: float,
    stopped: threading.Event,
    on_bytes: Callable[[int], None],
) -> None:
    """Appends what is missing of a file."""
    known = part.identity
    if known is None:
        _discard(part, on_bytes)  # bytes of nobody knows which version
    elif known.size is not None and part.size == known.size:
        return  # a run was ended between the last byte and the verification
    headers = {"Range": f"bytes={part.size}-"} if part.size else {}
    with explained(timeout), session.get(url, headers=headers, timeout=timeout, stream=True) as response:
        identity = _accepted(response, part, known, on_bytes)
        with part.path.open("ab") as sink:
            for chunk in response.raw.stream(_CHUNK, decode_content=False):
                if stopped.is_set():
                    raise StoppedError
                sink.write(chunk)
                on_bytes(len(chunk))
    if identity.size is not None and part.size != identity.size:
        raise InterruptedTransferError(f"the connection ended after {part.size} of {identity.size} bytes")


def _accepted(
    response: requests.Response, part: Part, known: Identity | None, on_bytes: Callable[[int], None]
) -> Identity:
    """Judges an answer by its headers: the rest of what is here, or a file from its first byte on."""
    etag = response.headers.get("ETag")
    if response.status_code == requests.codes.partial_content:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        identity = Identity(etag, whole(match[2]) if match else None)
        if match is None or int(match[1]) != part.size or identity != known:
            _discard(part, on_bytes)
            raise InterruptedTransferError("the file on the server has changed meanwhile")
        return identity
    if response.status_code == _RANGE_NOT_SATISFIABLE:
        _discard(part, on_bytes)
        raise InterruptedTransferError("the file on the server has become shorter")
    check_status(response)
    identity = Identity(etag, whole(response.headers.get("Content-Length")))
    _discard(part, on_bytes)  # a server that ignores ranges gives everything again
    part.note(identity)
    return identity


def _discard(part: Part, on_bytes: Callable[[int], None]) -> None:
    on_bytes(-part.size)
    part.discard()
