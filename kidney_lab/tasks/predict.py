"""`task=predict`: segment scans with a finished training."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig
from rich.progress import track

from kidney_lab.data.kits import IMAGE_FILE
from kidney_lab.data.nifti import read_volume, write_volume
from kidney_lab.errors import InputError
from kidney_lab.inference.cost import CaseCost, CostMeter
from kidney_lab.inference.load import load_method
from kidney_lab.reporting.formatting import duration, mebibytes


def predict(config: DictConfig) -> None:
    """Writes a label map per scan, on exactly the scan's grid."""
    work = plan(Path(config.input), Path(config.output))
    meter = CostMeter(load_method(config.run, config.device))
    problems, costs = [], []
    for image, output in track(work, "Scans", disable=len(work) == 1):
        try:
            segmentation, cost = meter.segment(read_volume(image), str(image))
            write_volume(output, segmentation.labels)
            costs.append(cost)
        except InputError as error:
            problems.append(str(error) if str(image) in str(error) else f"{image}: {error}")
    print(f"{len(costs)} label map{'' if len(costs) == 1 else 's'} in {config.output}{words_on(costs)}")
    if problems:
        raise InputError.of("These scans could not be segmented; the others were:", problems)


def words_on(costs: Sequence[CaseCost]) -> str:
    """Says what a scan took: the median of the times, and the largest memory."""
    if not costs:
        return ""
    memory = mebibytes(max(cost.peak_mib for cost in costs))
    on_gpu = [cost.device_mib for cost in costs if cost.device_mib is not None]
    gpu = f", GPU {mebibytes(max(on_gpu))}" if on_gpu else ""
    return f" ({duration(statistics.median(cost.seconds for cost in costs))} a scan, memory {memory}{gpu})"


def plan(source: Path, output: Path) -> list[tuple[Path, Path]]:
    """Which file is segmented into which.

    Args:
        source: a NIfTI file, a folder of NIfTI files, or a folder of `case_XXXXX/imaging.nii.gz`.
        output: a file for a file, a folder for a folder; a file may also go into a folder that exists.

    Returns:
        Pairs of scan and label map; label maps of a folder are named by the case or by the scan's stem.

    Raises:
        InputError: there is nothing to segment at `source`, or `output` is a file where a folder is needed.
    """
    if source.is_file():
        if output.suffix and not is_nifti(output) and not output.is_dir():
            raise InputError(f"output={output} is no NIfTI name: end it in .nii.gz, or name a folder.")
        into_folder = output.is_dir() or not is_nifti(output)
        return _no_scan_lost([(source, output / f"{stem(source)}.nii.gz" if into_folder else output)])
    if not source.is_dir():
        raise InputError(f"input={source} is not there: name a NIfTI file, or a folder of scans or cases.")
    if output.is_file():
        raise InputError(f"output={output} is a file, but input={source} is a folder: name a folder.")
    cases = {path.parent.name: path for path in sorted(source.glob(f"case_*/{IMAGE_FILE}"))}
    files = [path for path in sorted(source.iterdir()) if path.is_file() and is_nifti(path) and path.name[0] != "."]
    scans = cases or {stem(path): path for path in files}
    twice = [path for path in files if not cases and scans[stem(path)] != path]
    if twice:
        raise InputError(
            f"input={source} holds two scans of one name, {twice[0]} and {scans[stem(twice[0])]}: keep one."
        )
    if not scans:
        raise InputError(f"input={source} holds no scans: neither *.nii.gz nor case_XXXXX/{IMAGE_FILE}.")
    return _no_scan_lost([(path, output / f"{name}.nii.gz") for name, path in scans.items()])


def _no_scan_lost(work: list[tuple[Path, Path]]) -> list[tuple[Path, Path]]:
    for scan, label in work:
        if label.resolve() == scan.resolve():
            raise InputError(f"output={label} would overwrite the scan: name another file or folder.")
    return work


def is_nifti(path: Path) -> bool:
    """Whether a name is that of a NIfTI file."""
    return path.name.endswith((".nii", ".nii.gz"))


def stem(path: Path) -> str:
    """Name of a NIfTI file without its suffixes; other dots stay."""
    return path.name.removesuffix(".gz").removesuffix(".nii")
