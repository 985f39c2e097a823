"""The test phase of a training: segment the cases that are scored once, at the end, and score them officially."""

from pathlib import Path

from rich.progress import track
from torch import distributed

from kidney_lab.data.dataset import Dataset
from kidney_lab.data.kits import Case
from kidney_lab.data.nifti import read_grid, read_volume, write_volume
from kidney_lab.geometry import Volume, reorient
from kidney_lab.inference.load import load_method
from kidney_lab.metrics.evaluate import evaluate_pairs
from kidney_lab.metrics.table import write_metrics
from kidney_lab.reporting.figures import save_case_panel


def segment_scored_cases(run: Path, dataset: Dataset, device: str) -> None:
    """Writes `predictions/<case>.nii.gz` on every image's own grid, and a picture; ranks share the cases.

    Cases that are there already, from before an interruption, are kept.

    Args:
        run: the run folder.
        dataset: whose test cases are segmented, or validation cases where the split has no others.
        device: to compute on.
    """
    parallel = distributed.is_available() and distributed.is_initialized()
    rank, world_size = (distributed.get_rank(), distributed.get_world_size()) if parallel else (0, 1)
    missing = [case for case in dataset.split.scored_cases if not prediction_file(run, case).is_file()]
    if missing:
        method = load_method(run, device)
        for name in track(missing[rank::world_size], f"Segmenting {dataset.split.scored} cases", disable=rank > 0):
            case = dataset.cases[name]
            image = read_source_image(case)
            prediction = method.segment_volume(image)
            ipl = reorient(image)
            save_case_panel(
                run / "figures" / f"{name}.png",
                image=ipl.array,
                reference=case.read_label().array,
                prediction=reorient(prediction).array,
                spacing_mm=ipl.grid.spacing,
            )
            write_volume(prediction_file(run, name), prediction)
    if parallel:
        distributed.barrier()


def read_source_image(case: Case) -> Volume:
    """The image on its file's own grid, as `task=predict` would read it; a painted one on its reference's."""
    if case.image is not None:
        return read_volume(case.image)
    image = case.read_image()
    return reorient(image, read_grid(case.label).orientation) if case.label is not None else image


def write_scores(run: Path, dataset: Dataset, workers: int | None) -> None:
    """Writes `metrics.csv` and `summary.json` of the test cases, or validation cases where the split has no others."""
    references = {name: dataset.cases[name].label for name in dataset.split.scored_cases}
    pairs = {name: (prediction_file(run, name), path) for name, path in references.items() if path is not None}
    write_metrics(evaluate_pairs(pairs, regions=dataset.regions, workers=workers), run, scored=dataset.split.scored)


def prediction_file(run: Path, case: str) -> Path:
    """Where the run keeps the label map of a case."""
    return run / "predictions" / f"{case}.nii.gz"
