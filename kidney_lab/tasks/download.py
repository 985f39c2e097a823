"""`task=download`: fetch a challenge's images, references and clinical table into `data.root`."""

import re
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import requests
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.filesize import decimal

from kidney_lab.data.download.folder import writable_folder
from kidney_lab.data.download.http import FetchError, Patience, new_session
from kidney_lab.data.download.plan import bytes_of, check_space, missing, with_sizes
from kidney_lab.data.download.source import RemoteFile, Source
from kidney_lab.data.download.transfer import fetch_all
from kidney_lab.data.download.tree import list_files
from kidney_lab.errors import InputError
from kidney_lab.tasks.values import check_switches
from kidney_lab.wording import counted

_CASE = re.compile(r"case_\d{5}")


def download(config: DictConfig) -> None:
    """Fetches what is missing of the chosen cases; what is there stays, what was begun goes on."""
    check_switches(config)
    source, root = source_of(config), root_of(config)
    cases = source.choose(config.data.get("cases"))
    options = config.download
    if not isinstance(options.workers, int) or options.workers < 1:
        raise InputError(f"download.workers={options.workers} must be a whole number, at least 1.")
    patience = Patience(options.attempts, options.timeout, options.pause)
    with writable_folder(root), new_session(options.workers) as session:
        files = source.files(cases)
        if wants_instances(config):
            files += instance_files(session, source, cases, patience)
        wanted = missing(files, root, verify=options.verify, workers=options.workers)
        if not wanted:
            print(f"nothing to do: {counted(len(cases), 'case')} with {counted(len(files), 'file')} in {root}")
            return
        print(f"{source.name}: asking for the size of {counted(len(wanted), 'file')}", flush=True)
        wanted = with_sizes(session, wanted, workers=options.workers, patience=patience)
        check_space(wanted, root)
        print(announcement(source.name, len(cases), wanted, len(files) - len(wanted), root), flush=True)
        try:
            outcome = fetch_all(session, wanted, root, workers=options.workers, patience=patience)
        except KeyboardInterrupt:
            print("kidney_lab: what has come is kept, and the same command goes on from there", file=sys.stderr)
            raise
    print(f"{counted(outcome.fetched, 'file')} fetched and verified, in {root}")
    if outcome.problems:
        again = ", run again for the rest" if outcome.again else ""
        failed = counted(len(wanted) - outcome.fetched, "file")
        raise InputError.of(f"{failed} could not be fetched; the others are kept{again}:", outcome.problems)


def source_of(config: DictConfig) -> Source:
    """Where the dataset lies.

    Raises:
        InputError: nobody gives it out.
    """
    if config.data.get("source") is None:
        raise InputError(
            f"data={config.data.name} is not given out anywhere, so there is nothing to download: choose data=kits19, "
            "kits21 or kits23."
        )
    source: Source = instantiate(config.data.source, _convert_="all")
    return source


def root_of(config: DictConfig) -> Path:
    """Where the dataset goes.

    Raises:
        InputError: that is not said.
    """
    if not config.data.root:
        raise InputError(f"task=download needs data.root=: name the folder that data={config.data.name} goes into.")
    return Path(config.data.root).expanduser()


def wants_instances(config: DictConfig) -> bool:
    """Whether the masks of single annotators are wanted: as said, or else where the training learns from them."""
    if config.download.instances is not None:
        return bool(config.download.instances)
    return bool(config.data.get("annotation", "majority") != "majority")


def instance_files(
    session: requests.Session, source: Source, cases: Sequence[str], patience: Patience
) -> list[RemoteFile]:
    """Masks of single annotators, by the listing of the challenge's repository.

    Raises:
        InputError: the edition has none, or the listing cannot be had.
    """
    if source.tree is None or source.instances_folder is None:
        raise InputError(
            f"download.instances=true asks for masks of single annotators, which {source.name} does not hold: choose "
            "data=kits21 or kits23, or leave it out."
        )

    def wanted(folder: str) -> bool:
        name = folder.rpartition("/")[2]
        return name in cases or _CASE.fullmatch(name) is None

    try:
        listing = list(list_files(session, source.tree, wanted, patience=patience, stopped=threading.Event()))
    except FetchError as error:
        raise InputError(f"The listing {source.tree} cannot be had: {error}.") from error
    return source.instance_files(cases, listing)


def announcement(name: str, n_cases: int, files: Sequence[RemoteFile], n_here: int, root: Path) -> str:
    """What is about to be fetched, in one line."""
    known = "at least " if any(file.size is None for file in files) else ""
    here = f" (beside {counted(n_here, 'file')} already there)" if n_here else ""
    size = f"{known}{decimal(bytes_of(files))}"
    return f"{name}: {counted(n_cases, 'case')}, {counted(len(files), 'file')}, {size} into {root}{here}"
