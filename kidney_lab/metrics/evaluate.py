"""Scores files against files: each case is read, checked and scored in one go, many cases at once."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from kidney_lab.data.nifti import read_grid, read_volume
from kidney_lab.data.parallel import over_cases
from kidney_lab.errors import InputError
from kidney_lab.geometry import Volume, reorient
from kidney_lab.metrics.case_scores import Scoring, case_scores, whole_labels
from kidney_lab.metrics.pairs import ScoredFiles, header_problems
from kidney_lab.metrics.parts import CaseResult, Parts
from kidney_lab.metrics.strata import case_strata

_PROGRAM_MIB, _BYTES_PER_VOXEL = 250, 4  # of a worker, as measured: two label maps, and the masks within their box


def score_files(
    cases: Sequence[ScoredFiles],
    scoring: Scoring,
    *,
    strata: bool = False,
    workers: int | None = 1,
    parts: Parts | None = None,
) -> dict[str, CaseResult]:
    """Scores cases in parallel, the largest first.

    Args:
        cases: what belongs together.
        scoring: what is wanted of each.
        strata: measure each reference too, and its image where there is one.
        workers: processes; None: one per core, at most 8, and no more than memory holds.
        parts: where results are kept as they come; what is kept there already is not computed again.

    Returns:
        The result of every case, in the order of `cases`.

    Raises:
        InputError: lists everything that is wrong with any case; the parts of sound ones are kept.
    """
    problems = {case.id: header_problems(case) for case in cases}
    unsound = any(problems.values())
    results = {case.id: parts.read(case) for case in cases} if parts is not None else {}
    todo = [case for case in cases if results.get(case.id) is None]
    work = partial(_result_or_problems, scoring=None if unsound else scoring, strata=strata)
    for case, found in over_cases(work, todo, workers=workers, title="Scoring", need=_need_mib):
        if isinstance(found, CaseResult):
            results[case.id] = found
            if parts is not None:
                parts.write(case, found)
        else:
            problems[case.id] += [problem for problem in found if problem not in problems[case.id]]
    sentences = [sentence for case in cases for sentence in problems[case.id]]
    if sentences:
        raise InputError.of("These pairs cannot be scored:", sentences)
    return {case.id: result for case in cases if (result := results[case.id]) is not None}


def read_labels(path: Path) -> Volume:
    """Reads a label map, uint8 in the project's orientation.

    It is not contiguous, since all that is computed looks at the box of its labels alone.

    Raises:
        InputError: the file cannot be read, or a value is no label.
    """
    volume = reorient(read_volume(path, as_stored=True))
    return Volume(whole_labels(volume.array, str(path)), volume.grid)


def _result_or_problems(case: ScoredFiles, *, scoring: Scoring | None, strata: bool) -> CaseResult | list[str]:
    """Result of a case, or sentences on what is wrong with its files; without a scoring they are only looked at."""
    volumes: dict[Path, Volume] = {}
    problems = []
    for path in case.files:
        try:
            volumes[path] = reorient(read_volume(path)) if path == case.image else read_labels(path)
        except InputError as error:
            problems.append(f"{case.id}: {error}")
    if problems or scoring is None:
        return problems
    reference = volumes[case.reference]
    nothing = np.broadcast_to(np.uint8(0), reference.array.shape)
    prediction = nothing if case.prediction is None else volumes[case.prediction].array
    image = None if case.image is None else volumes[case.image].array
    scores = case_scores(prediction, reference.array, reference.grid.spacing, scoring)
    return CaseResult(scores, case_strata(reference.array, reference.grid.spacing, image) if strata else None)


def _need_mib(case: ScoredFiles) -> float:
    """MiB that a worker takes for a case; a file whose header cannot be read is told of elsewhere."""
    try:
        voxels = math.prod(read_grid(case.reference).shape)
    except InputError:
        return _PROGRAM_MIB
    return _PROGRAM_MIB + voxels * (_BYTES_PER_VOXEL if case.image is None else 2 * _BYTES_PER_VOXEL) / 2**20
