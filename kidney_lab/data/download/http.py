"""HTTP as long downloads need it: what is worth another attempt, how long to wait before it, and what is final."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TypeVar

import requests
import urllib3
from requests.adapters import HTTPAdapter

from kidney_lab.errors import InputError

PLAIN = {"Accept-Encoding": "identity"}
"""Headers of every request: bytes as they are, since compressed ones have another length and no ranges."""

_LONGEST_PAUSE_S = 60.0
_LONGEST_RETRY_AFTER_S = 600.0
_TEMPORARY = {408, 425, 429}  # and all from 500 on

T = TypeVar("T")


class FetchError(Exception):
    """A file cannot be had; the message is a clause without the URL."""


class RefusedError(FetchError):
    """The server's answer is final.

    Args:
        reason: a clause.
        for_now: whether it would be another one later on.
    """

    def __init__(self, reason: str, *, for_now: bool = False) -> None:
        super().__init__(reason)
        self.for_now = for_now


class UnreachableError(FetchError):
    """Every attempt failed."""


class StoppedError(Exception):
    """Another thread has ended the download."""


class InterruptedTransferError(Exception):
    """This attempt failed, another one may not.

    Args:
        reason: a clause.
        wait: s that the server asks to wait for; None: it does not say.
    """

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass(frozen=True)
class Patience:
    """How long to put up with a server.

    Args:
        attempts: in a row that bring nothing new, at least 1.
        timeout: s without an answer or a byte, after which an attempt has failed.
        pause: s before the second attempt; twice as long before each further one, at most a minute.
    """

    attempts: int = 5
    timeout: float = 30.0
    pause: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.attempts, int) or self.attempts < 1:
            raise InputError(f"download.attempts={self.attempts} must be a whole number, at least 1.")
        if not isinstance(self.timeout, int | float) or not self.timeout > 0:
            raise InputError(f"download.timeout={self.timeout} must be a number of seconds above 0.")
        if not isinstance(self.pause, int | float) or not self.pause >= 0:
            raise InputError(f"download.pause={self.pause} must be a number of seconds, 0 or more.")

    def delay(self, failures: int) -> float:
        """Seconds to wait after so many failures: exponential, and random so that threads do not return together."""
        return float(min(_LONGEST_PAUSE_S, self.pause * 2 ** (failures - 1)) * random.uniform(0.5, 1.0))


def new_session(workers: int) -> requests.Session:
    """A session that keeps a connection for each thread; proxies and `~/.netrc` count as everywhere in requests."""
    session = requests.Session()
    session.headers.update(PLAIN)
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_connections=workers, pool_maxsize=workers))
    return session


def persist(
    attempt: Callable[[], T], patience: Patience, stopped: threading.Event, reached: Callable[[], int] = lambda: 0
) -> T:
    """Tries again until it works, or until too many attempts in a row brought nothing new.

    Args:
        attempt: raises `InterruptedTransferError` where another attempt may help.
        patience: how often, and after which pause.
        stopped: ends the waiting.
        reached: bytes that are there; an attempt that has brought more than any before it starts the count anew.

    Returns:
        What the attempt gave.

    Raises:
        UnreachableError: the last attempt failed as well.
        StoppedError: somebody has ended the download.
    """
    failures, furthest = 0, reached()
    while True:
        try:
            return attempt()
        except InterruptedTransferError as error:
            now = reached()
            failures = 1 if now > furthest else failures + 1
            furthest = max(furthest, now)
            if failures >= patience.attempts:
                raise UnreachableError(f"{error}; {patience.attempts} attempts brought nothing more") from error
            if stopped.wait(patience.delay(failures) if error.wait is None else error.wait):
                raise StoppedError from error


@contextmanager
def explained(timeout: float) -> Iterator[None]:
    """Tells failures of the network, which are worth another attempt, from addresses that can never work."""
    try:
        yield
    except (
        requests.exceptions.InvalidURL,
        requests.exceptions.InvalidSchema,
        requests.exceptions.MissingSchema,
    ) as error:
        raise RefusedError(f"no address of the web ({error})") from error
    except (requests.Timeout, urllib3.exceptions.TimeoutError) as error:
        raise InterruptedTransferError(f"nothing came for {timeout:g} s") from error
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise InterruptedTransferError(f"the connection failed: {_innermost(error)}") from error


def check_status(response: requests.Response) -> None:
    """Raises unless the answer holds what was asked for.

    Raises:
        InterruptedTransferError: the server is busy or out of order.
        RefusedError: it will not give the file.
    """
    if response.ok:
        return
    said = f"{response.status_code} {response.reason}"
    if response.headers.get("X-RateLimit-Remaining") == "0":
        raise RefusedError(
            f"{said}: the host's requests an hour are used up; run again later, or put a token for it into ~/.netrc",
            for_now=True,
        )
    if response.status_code in _TEMPORARY or response.status_code >= 500:
        raise InterruptedTransferError(said, retry_after(response.headers.get("Retry-After")))
    raise RefusedError(said)


def retry_after(value: str | None) -> float | None:
    """Seconds that the header `Retry-After` asks for, at most ten minutes; it holds seconds or a date (RFC 9110)."""
    seconds = whole(value)
    if value is None or seconds is not None:
        return None if seconds is None else min(float(seconds), _LONGEST_RETRY_AFTER_S)
    try:
        wait = parsedate_to_datetime(value).timestamp() - time.time()
    except ValueError:
        return None
    return min(max(wait, 0.0), _LONGEST_RETRY_AFTER_S)


def whole(value: str | None) -> int | None:
    """The number in a header, or None where there is none."""
    return int(value) if value is not None and value.isdecimal() else None


def _innermost(error: BaseException) -> str:
    """What urllib3 says at the bottom, without the names of its objects in front."""
    while True:
        inner = getattr(error, "reason", None) or next((arg for arg in error.args if isinstance(arg, Exception)), None)
        if not isinstance(inner, BaseException):
            return str(error).rpartition(": ")[2]
        error = inner
