"""What of a dataset is missing in a folder, how large it is, and whether it fits."""

import shutil
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import requests
from rich.filesize import decimal

from kidney_lab.data.download.fetch import size_of
from kidney_lab.data.download.http import Patience, UnreachableError
from kidney_lab.data.download.part import Part
from kidney_lab.data.download.source import RemoteFile
from kidney_lab.data.download.threads import in_threads
from kidney_lab.data.download.verify import problem_of
from kidney_lab.errors import InputError
from kidney_lab.wording import counted


def missing(files: Sequence[RemoteFile], root: Path, *, verify: bool = False, workers: int = 1) -> list[RemoteFile]:
    """The files that are to be fetched; those under their names are whole, unless somebody else put them there.

    Args:
        files: of the dataset.
        root: folder of the dataset.
        verify: decode the files that are there, and fetch the broken ones anew.
        workers: threads that decode.

    Returns:
        Files in their order.
    """
    absent = {file for file in files if not (root / file.path).is_file()}
    if verify:
        here = [file for file in files if file not in absent]
        checked = in_threads(lambda f: problem_of(root / f.path, f.path), here, workers, threading.Event())
        absent |= {file for file, problem in checked if problem.result() is not None}
    return [file for file in files if file in absent]


def with_sizes(
    session: requests.Session, files: Sequence[RemoteFile], *, workers: int, patience: Patience
) -> list[RemoteFile]:
    """Asks the servers for the sizes that are not known yet.

    Args:
        session: of requests.
        files: to be fetched.
        workers: questions at a time.
        patience: with the servers.

    Returns:
        The files in their order; a size that a server keeps to itself stays None.

    Raises:
        InputError: a server does not answer.
    """
    stopped = threading.Event()
    sizes = {file.url: file.size for file in files}
    unknown = [file for file in files if file.size is None]
    try:
        for file, size in in_threads(lambda f: size_of(session, f.url, patience, stopped), unknown, workers, stopped):
            sizes[file.url] = size.result()
    except UnreachableError as error:
        host = urlsplit(file.url).netloc
        raise InputError(
            f"{host} gives no answer about {file.url} ({error}): check the network and the proxy (HTTPS_PROXY), "
            "and run again."
        ) from error
    finally:
        stopped.set()
    return [replace(file, size=sizes[file.url]) for file in files]


def bytes_of(files: Sequence[RemoteFile]) -> int:
    """Bytes of all the files whose size is known."""
    return sum(file.size or 0 for file in files)


def bytes_here(files: Sequence[RemoteFile], root: Path) -> int:
    """Bytes of unfinished files that earlier runs left behind."""
    return sum(Part(root / file.path).size for file in files)


def check_space(files: Sequence[RemoteFile], root: Path) -> None:
    """Makes sure that the files fit on the disk.

    Args:
        files: to be fetched, with their sizes.
        root: folder of the dataset; it exists.

    Raises:
        InputError: they do not.
    """
    needed = bytes_of(files) - bytes_here(files, root)
    free = shutil.disk_usage(root).free
    if needed > free:
        raise InputError(
            f"data.root={root} needs {decimal(needed)} for {counted(len(files), 'file')}, but its disk has "
            f"{decimal(free)} free: free {decimal(needed - free)}, name a folder on another disk, or take fewer cases "
            "with data.cases=0-19."
        )
