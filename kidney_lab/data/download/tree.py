"""Names and sizes of the files of a GitHub repository, without cloning it."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import requests

from kidney_lab.data.download.http import InterruptedTransferError, Patience, check_status, explained, persist


def list_files(
    session: requests.Session,
    url: str,
    wanted: Callable[[str], bool],
    *,
    patience: Patience,
    stopped: threading.Event,
    prefix: str = "",
) -> Iterator[tuple[str, int]]:
    """Lists a repository by its git trees; one that is too long for one answer is walked folder by folder.

    GitHub cuts a recursive listing after 100 000 entries or 7 MB (REST API, "Get a tree").

    Args:
        session: of requests.
        url: `https://api.github.com/repos/<owner>/<name>/git/trees/<branch>`; a query is ignored.
        wanted: whether a folder, by its path, is worth walking into.
        patience: with the server.
        stopped: ends the waiting.
        prefix: path of the tree in the repository, with `/` at its end.

    Yields:
        Path and bytes of every file.

    Raises:
        FetchError: the listing cannot be had.
    """
    bare = url.partition("?")[0]
    listing = _read(session, f"{bare}?recursive=1", patience, stopped)
    whole_tree = not listing.get("truncated", False)
    entries = listing["tree"] if whole_tree else _read(session, bare, patience, stopped)["tree"]
    for entry in entries:
        path = prefix + entry["path"]
        if entry["type"] == "blob":
            yield path, int(entry["size"])
        elif entry["type"] == "tree" and not whole_tree and wanted(path):
            yield from list_files(session, entry["url"], wanted, patience=patience, stopped=stopped, prefix=f"{path}/")


def _read(session: requests.Session, url: str, patience: Patience, stopped: threading.Event) -> dict[str, Any]:
    def attempt() -> dict[str, Any]:
        with explained(patience.timeout):
            response = session.get(url, timeout=patience.timeout)
        check_status(response)
        try:
            listing = response.json()
        except ValueError as error:
            raise InterruptedTransferError(
                f"the answer is no listing but begins with {response.text[:40]!r}"
            ) from error
        if not isinstance(listing, dict) or "tree" not in listing:
            raise InterruptedTransferError("the answer is no listing of a git tree")
        return listing

    return persist(attempt, patience, stopped)
