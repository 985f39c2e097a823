"""Which scan is segmented into which files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kidney_lab.data.scans import Scan, is_nifti, stem
from kidney_lab.errors import InputError
from kidney_lab.wording import counted


@dataclass(frozen=True)
class Job:
    """A scan and where its label map goes; what else is made of the scan lies beside that.

    Args:
        scan: that is segmented.
        labels: file of its label map.
    """

    scan: Scan
    labels: Path

    def beside(self, suffix: str) -> Path:
        """A file beside the label map, of the same name but for its end."""
        return self.labels.with_name(f"{stem(self.labels)}{suffix}")


def plan(scans: Sequence[Scan], output: Path) -> list[Job]:
    """Gives every scan its label map.

    Args:
        scans: as found, each with a name of its own.
        output: a folder, or a NIfTI file for a single scan; a file may also go into a folder that exists.

    Returns:
        The jobs, in order; label maps in a folder are named by their scan.

    Raises:
        InputError: `output` is no NIfTI name, is a file where a folder is needed, or would overwrite any of the scans.
    """
    into_folder = output.is_dir() or not is_nifti(output)
    if into_folder and (output.is_file() or (output.suffix == ".gz" and not output.is_dir())):
        raise InputError(f"output={output} is no NIfTI name: end it in .nii.gz, or name a folder.")
    if not into_folder and len(scans) > 1:
        raise InputError(f"output={output} is one file, but there are {counted(len(scans), 'scan')}: name a folder.")
    jobs = [Job(scan, output / f"{scan.name}.nii.gz" if into_folder else output) for scan in scans]
    paths = {scan.path.resolve(): scan.path for scan in scans}
    for job in jobs:
        if (lost := paths.get(job.labels.resolve())) is not None:
            raise InputError(f"output={output} would overwrite the scan {lost}: name another file or folder.")
    return jobs
