"""The human ceiling: annotators of the same case scored against each other, with the metrics that methods get.

KiTS21 and the first 300 cases of KiTS23 were delineated by three annotators each. They delineated tumors and cysts that
had been located for them, so this is how far their contours agree, not whether they would have found the same lesions.
A method that is scored against the majority of the annotators can exceed it, since the majority is nearer to each
annotator than they are to one another.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations, permutations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kidney_lab.data.annotations import Instance, annotator_label, annotators
from kidney_lab.data.kits import Case, grid_in_memory
from kidney_lab.data.nifti import read_grid
from kidney_lab.data.parallel import over_cases
from kidney_lab.errors import InputError
from kidney_lab.geometry import Spacing
from kidney_lab.metrics.case_scores import Scores
from kidney_lab.metrics.kits import kits_scores
from kidney_lab.metrics.table import metrics_frame

ScoreFunction = Callable[[NDArray[Any], NDArray[Any], Spacing], Scores]
"""Scores a label map against another one on the same grid, as `kits_scores` does."""


@dataclass(frozen=True, eq=False)
class Agreement:
    """How well the annotators of some cases agree.

    Args:
        frame: tidy table `case,region,metric,value`, one value per case: the mean over its pairs of annotators.
        left_out: cases that fewer than two annotators drew completely.
    """

    frame: pd.DataFrame
    left_out: tuple[str, ...]


def annotator_agreement(
    cases: Sequence[Case],
    *,
    score: ScoreFunction = kits_scores,
    symmetric: bool = True,
    workers: int | None = 1,
) -> Agreement:
    """Scores annotator against annotator.

    Only annotators who drew every instance of a case take part in it. A label map is otherwise completed by another
    annotator's instances (`drawn_by`), and would agree with that one perfectly.

    Args:
        cases: with their instances, as `find_cases(root, annotation="sampled")` gives them.
        score: of a label map against another; must be picklable for more than one worker.
        symmetric: whether the score is the same with both exchanged, as Dice and surface distances are; else every pair
            is scored both ways, and the mean taken.
        workers: processes; None: one per core, at most 8.

    Returns:
        The mean over pairs for each case, in the order of `cases`, and the cases that were left out.

    Raises:
        InputError: no case has two annotators, or a mask is broken or lies on another grid.
    """
    drawn = [case for case in cases if len(complete_annotators(case.instances)) > 1]
    if not drawn:
        raise InputError(
            f"None of {len(cases)} cases was drawn by two annotators: give a folder of KiTS21 or KiTS23 whose cases "
            "hold instances/ or segmentations/ with masks such as tumor_instance-1_annotation-2.nii.gz."
        )
    work = partial(_case_agreement, score=score, symmetric=symmetric)
    results = over_cases(work, drawn, workers=workers, title="Comparing annotators")
    by_case = {case.id: scores for case, scores in results}
    frame = metrics_frame({case.id: by_case[case.id] for case in drawn})
    return Agreement(frame, tuple(case.id for case in cases if case.id not in by_case))


def complete_annotators(instances: Sequence[Instance]) -> list[int]:
    """Numbers of the annotators who drew every instance of a case, sorted."""
    everything = {(instance.kind, instance.number) for instance in instances}
    drew = {(instance.annotator, instance.kind, instance.number) for instance in instances}
    return [who for who in annotators(instances) if all((who, *thing) in drew for thing in everything)]


def pairwise_scores(
    labels: Sequence[NDArray[Any]],
    spacing_mm: Spacing,
    *,
    score: ScoreFunction = kits_scores,
    symmetric: bool = True,
) -> Scores:
    """Mean score over all pairs of label maps of one case.

    Args:
        labels: at least two, `(D, H, W)`, on one grid; of a pair the first is scored as the reference.
        spacing_mm: distance between voxels, (D, H, W), in mm.
        score: of a label map against another.
        symmetric: False: every pair is scored both ways.

    Returns:
        For every key of the score its mean over the pairs where it is defined; NaN where it is in none.
    """
    pairs = combinations(labels, 2) if symmetric else permutations(labels, 2)
    return _mean([score(other, reference, spacing_mm) for reference, other in pairs])


def _case_agreement(case: Case, *, score: ScoreFunction, symmetric: bool) -> Scores:
    grid = grid_in_memory(read_grid(case.instances[0].path))
    labels = [annotator_label(case.instances, who, grid).array for who in complete_annotators(case.instances)]
    return pairwise_scores(labels, grid.spacing, score=score, symmetric=symmetric)


def _mean(scores: Sequence[Mapping[tuple[str, str], float]]) -> Scores:
    values = {key: np.array([of_pair[key] for of_pair in scores], dtype=float) for key in scores[0]}
    defined = {key: found[~np.isnan(found)] for key, found in values.items()}
    return {key: float(found.mean()) if found.size else np.nan for key, found in defined.items()}
