"""`<name>.prediction.json` beside a label map: which scan it is of and what made it.

It is written before the label map and what lies beside that, so that all of them are known as this program's, even
where it is interrupted: a second start of the same command finds its finished scans by these, goes on with the others,
and refuses to mix in those of another run or to overwrite what somebody else made.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import kidney_lab
from kidney_lab.data.scans import Scan, is_nifti
from kidney_lab.errors import InputError
from kidney_lab.files import write_text
from kidney_lab.inference.cost import CaseCost
from kidney_lab.tasks.predict_outputs import SUFFIXES, Outputs
from kidney_lab.tasks.predict_plan import Job
from kidney_lab.tasks.predict_runs import MadeBy

SUFFIX = ".prediction.json"


def write_record(
    job: Job, made_by: MadeBy, cost: CaseCost, stamp: Mapping[str, int], left_out: Mapping[str, str]
) -> None:
    """Marks what lies beside it as that of a scan and of runs; the scan is finished once all that is asked for does.

    Args:
        job: of the scan.
        made_by: the runs that segmented it.
        cost: what that took.
        stamp: of the scan's files when they were read.
        left_out: by the name of an output that the scan cannot have, the reason.
    """
    record = {
        "scan": str(job.scan.path.resolve()),
        "stamp": dict(stamp),
        "labels": job.labels.name,
        "runs": list(made_by.runs),
        "inference": list(made_by.settings),
        "version": kidney_lab.__version__,
        "seconds": cost.seconds,
        "peak_mib": cost.peak_mib,
        "device_mib": cost.device_mib,
        "left_out": dict(left_out),
    }
    write_text(job.beside(SUFFIX), json.dumps(record, indent=2) + "\n")


def stamp_of(scan: Scan) -> dict[str, int]:
    """Tells the files of a scan from others that lie there later, without reading them.

    Args:
        scan: as found; of DICOM all files of its folder count, but for those that `task=predict` writes.

    Returns:
        `bytes` in sum, and `mtime_ns` of the latest change.
    """
    folder = scan.path if scan.path.is_dir() else scan.path.parent
    beside = (path for path in folder.glob("[!.]*") if path.is_file() and not is_written(path))
    found = [path.stat() for path in ([scan.path] if scan.kind == "nifti" else beside)]
    return {
        "bytes": sum(stat.st_size for stat in found),
        "mtime_ns": max((stat.st_mtime_ns for stat in found), default=0),
    }


def is_written(path: Path) -> bool:
    """Whether a name is one that files of `task=predict` have."""
    return is_nifti(path) or path.name.endswith((*SUFFIXES.values(), SUFFIX, "measurements.csv"))


def take_back(job: Job, made_by: MadeBy) -> None:
    """Removes the label map and what lies beside it, unless they are what is about to be made again.

    Args:
        job: of the scan.
        made_by: the runs that are about to segment it.
    """
    record = _read(job)
    if record is None or _other(job, record, made_by) is not None:
        for path in (*_files(job), job.beside(SUFFIX)):
            path.unlink(missing_ok=True)


def unfinished(jobs: Sequence[Job], outputs: Outputs, made_by: MadeBy) -> list[Job]:
    """Jobs that lack their label map or another output.

    Args:
        jobs: of this command.
        outputs: that are asked for.
        made_by: the runs of this command.

    Returns:
        Those that are to be done, in order.

    Raises:
        InputError: what lies in the place of some is of other scans or other runs, or no record says of what.
    """
    found = {job: _read(job) for job in jobs}
    others = [reason for job, record in found.items() if (reason := _other(job, record, made_by)) is not None]
    if others:
        raise InputError.of("Name another output=, or replace what is there by overwrite=true:", others)
    return [job for job, record in found.items() if record is None or not _complete(job, record, outputs)]


def _files(job: Job) -> list[Path]:
    return [job.labels, *(job.beside(suffix) for suffix in SUFFIXES.values())]


def _other(job: Job, record: Mapping[str, Any] | None, made_by: MadeBy) -> str | None:
    """Why the files that are there are not those that are wanted."""
    there = next((path for path in _files(job) if path.exists()), None)
    if there is None:
        return None
    if record is None:
        return f"{there} is there, but no {job.beside(SUFFIX).name} says that it was made of {job.scan.path}."
    if record.get("scan") != str(job.scan.path.resolve()):
        return f"{there} is that of another scan, {record.get('scan')}."
    if record.get("stamp") != stamp_of(job.scan):
        return f"{there} was made of {job.scan.path} before that was changed."
    if record["runs"] != list(made_by.runs):
        names = ", ".join(f"{run.get('name')} of {run.get('started')}" for run in record["runs"])
        return f"{there} was made by another run, {names}."
    if record.get("inference") != list(made_by.settings):
        return f"{there} was made with inference={record.get('inference')}, and now it is {list(made_by.settings)}."
    return None


def _complete(job: Job, record: Mapping[str, Any], outputs: Outputs) -> bool:
    wanted = [name for name in outputs.of(job) if name not in record.get("left_out", {})]
    return job.labels.is_file() and all(job.beside(SUFFIXES[name]).is_file() for name in wanted)


def _read(job: Job) -> dict[str, Any] | None:
    """The record of a label map; None where there is none, or something else of that name."""
    try:
        record = json.loads(job.beside(SUFFIX).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or record.get("labels") != job.labels.name:
        return None
    runs = record.get("runs")
    return record if isinstance(runs, list) and all(isinstance(run, dict) for run in runs) else None
