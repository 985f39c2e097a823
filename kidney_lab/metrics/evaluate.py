"""Scores files against files: pairs them by case, checks them, and scores them in parallel."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from kidney_lab.data.nifti import read_grid, read_volume
from kidney_lab.errors import InputError
from kidney_lab.geometry import Volume, reorient
from kidney_lab.labels import LABELS
from kidney_lab.memory import cores
from kidney_lab.metrics.kits import kits_scores
from kidney_lab.processes import worker_pool

Pair = tuple[Path, Path]
Row = tuple[str, str, str, float]
SEGMENTATIONS = ("segmentation.nii.gz", "aggregated_MAJ_seg.nii.gz")


def find_label_maps(folder: Path, role: str) -> dict[str, Path]:
    """Label maps of a folder by case.

    Args:
        folder: a KiTS root (`case_XXXXX/segmentation.nii.gz`) or a flat folder (`case_XXXXX.nii.gz`,
            `KiTS_XXXXX.nii.gz`, or any other stem).
        role: the folder's name on the command line, for messages.

    Returns:
        Case to file. A case is named `case_XXXXX` where the name has a case number, else by the file's stem.

    Raises:
        InputError: there is no such folder, it holds no label maps, or two files are of the same case.
    """
    if not folder.is_dir():
        raise InputError(f"{role}={folder} is no folder: name one that holds *.nii.gz files or case_XXXXX folders.")
    nested = [path for case in sorted(folder.glob("case_*")) for path in _segmentation_of(case)]
    flat = [path for path in sorted(folder.glob("*.nii*")) if path.is_file() and not path.name.startswith(".")]
    found: dict[str, Path] = {}
    problems = []
    for path in [*nested, *flat]:
        case = case_name(path.parent.name if path in nested else path.name)
        if case in found:
            problems.append(f"{role}={folder} holds {case} twice: {found[case]} and {path}.")
        found[case] = path
    if problems:
        raise InputError("\n".join(problems))
    if not found:
        raise InputError(f"{role}={folder} holds no label maps: neither *.nii.gz nor case_XXXXX/segmentation.nii.gz.")
    return found


def _segmentation_of(case: Path) -> list[Path]:
    return [case / name for name in SEGMENTATIONS if (case / name).is_file()][:1]


def case_name(name: str) -> str:
    """Case that a file or folder name stands for.

    >>> case_name("KiTS_00012.nii.gz"), case_name("case_00012"), case_name("liver.nii.gz")
    ('case_00012', 'case_00012', 'liver')
    """
    stem = re.sub(r"\.nii(\.gz)?$", "", name)
    match = re.search(r"(?<!\d)(\d{5})(?!\d)", stem)
    return f"case_{match[1]}" if match else stem


def match_pairs(predictions: Path, references: Path) -> dict[str, Pair]:
    """Pairs predictions with references.

    Args:
        predictions: folder, see `find_label_maps`.
        references: folder.

    Returns:
        Case to (prediction, reference), for every prediction.

    Raises:
        InputError: names every prediction without a reference and every reference without a prediction.
    """
    predicted = find_label_maps(predictions, "predictions")
    reference = find_label_maps(references, "references")
    problems = [
        f"{case}: {path} has no reference in {references}." for case, path in predicted.items() if case not in reference
    ]
    problems += [
        f"{case}: {path} has no prediction in {predictions}."
        for case, path in reference.items()
        if case not in predicted
    ]
    if problems:
        raise InputError.of("Predictions and references do not cover the same cases; nothing was scored:", problems)
    return {case: (predicted[case], reference[case]) for case in sorted(predicted)}


def check_pair(case: str, pair: Pair) -> list[str]:
    """What is wrong with the headers of a pair: one sentence each."""
    try:
        prediction, reference = (read_grid(path) for path in pair)
    except InputError as error:
        return [str(error)]
    if prediction.shape != reference.shape:
        return [f"{case}: {pair[0]} has shape {prediction.shape}, its reference {reference.shape}."]
    if not prediction.same_as(reference):
        return [
            f"{case}: {pair[0]} lies elsewhere than its reference, {prediction.distance_to(reference):.4g} mm apart: "
            f"affine {prediction.affine.tolist()} against {reference.affine.tolist()}."
        ]
    return []


def read_labels(path: Path) -> Volume:
    """Reads a label map in memory order.

    Raises:
        InputError: a value is no label.
    """
    volume = reorient(read_volume(path))
    values = np.unique(volume.array)
    allowed = {0, *LABELS.values()}
    wrong = [float(value) for value in values if value not in allowed]
    if wrong:
        raise InputError(f"{path} holds the values {wrong[:5]}: labels are {sorted(allowed)}.")
    return Volume(volume.array.astype(np.uint8), volume.grid)


def score_pair(item: tuple[str, Pair], regions: Sequence[str]) -> tuple[list[Row], list[str]]:
    """Rows of `metrics.csv` of one case, and the sentences that say why there are none."""
    case, pair = item
    problems = check_pair(case, pair)
    volumes = []
    for path in pair:
        try:
            volumes.append(read_labels(path))
        except InputError as error:
            problems += [] if str(error) in problems else [str(error)]
    if problems:
        return [], problems
    prediction, reference = volumes
    scores = kits_scores(prediction.array, reference.array, reference.grid.spacing, regions=regions)
    return [(case, region, metric, value) for (region, metric), value in scores.items()], []


def evaluate_pairs(pairs: Mapping[str, Pair], *, regions: Sequence[str], workers: int | None) -> pd.DataFrame:
    """Official scores of every pair.

    Args:
        pairs: case to (prediction, reference).
        regions: names of the regions to score.
        workers: processes; None: one per core.

    Returns:
        Tidy frame with columns `case,region,metric,value`.

    Raises:
        InputError: lists everything that is wrong with any pair; then nothing is scored.
    """
    score = partial(score_pair, regions=tuple(regions))
    if workers == 1 or len(pairs) == 1:
        results = [score(item) for item in pairs.items()]
    else:
        with worker_pool(workers or cores()) as pool:
            results = list(pool.map(score, pairs.items()))
    problems = [problem for _, found in results for problem in found]
    if problems:
        raise InputError.of("These pairs cannot be scored:", problems)
    table = pd.DataFrame([row for rows, _ in results for row in rows], columns=["case", "region", "metric", "value"])
    return table.astype({"value": float})
