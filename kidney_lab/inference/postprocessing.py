"""Post-processing of label maps by connected components.

Hao 2024 (thesis, 3.4) keeps the largest component. As printed that is `keep=largest`, and on the references of KiTS19's
first 120 cases, taken for predictions, it erases a kidney in nearly every one; keeping the largest component of each
label, as nnU-Net may (Isensee et al. 2021, doi:10.1038/s41592-020-01008-z), erases one as well, and a tumor's smaller
foci. The default keeps two components of what is not background, and lesions only where there is a kidney to bear them.

Every step takes a `(D, H, W)` uint8 label map (0 background, 1 kidney, 2 tumor, 3 cyst), never changes it, and returns
one of the same shape in which the voxels that it drops are background: a new array, or the map itself where nothing is
dropped. Components are joined over faces, edges and corners. All work is done in the smallest box that holds the
foreground and takes at most about 11 bytes for each voxel of that box.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kidney_lab.data.foreground import foreground_box
from kidney_lab.errors import InputError
from kidney_lab.inference.components import count_voxels, number_components
from kidney_lab.labels import BACKGROUND, KIDNEY, LABELS

log = logging.getLogger(__name__)

LabelMap = NDArray[np.uint8]

SECOND_KIDNEY = 0.1
"""Least size of a second kidney with its lesions, as a part of the most renal tissue that a component holds.

Measured against the first component's whole size, a healthy kidney would go where the other one bears a large tumor: it
has 9.8 % of that in KiTS23's reference of case_00030, and 10.3 % in KiTS19's. Against renal tissue every second kidney
of 128 references (120 of KiTS19, 8 of KiTS23) has 72 % and more, and no stray component over 0.4 %.
"""


def keep_all(labels: LabelMap) -> LabelMap:
    """Leaves a label map `(D, H, W)` as it is."""
    return labels


def keep_two_kidneys(labels: LabelMap) -> LabelMap:
    """Drops everything but the two largest components of what is not background.

    A kidney, its tumors and its cysts are one component; what lies apart from both kidneys is taken for a mistake. The
    second component stays only where it is large enough, see `SECOND_KIDNEY`: some patients have one kidney, or two
    that are grown together.
    """
    return _keep(labels, lambda voxels, renal: _largest(voxels, _large_enough(voxels, renal), count=2))


def keep_largest(labels: LabelMap) -> LabelMap:
    """Drops everything but the largest component of what is not background: most patients lose a kidney."""
    return _keep(labels, lambda voxels, _: _largest(voxels, voxels > 0, count=1))


def keep_largest_per_label(labels: LabelMap) -> LabelMap:
    """Drops of each label, kidney, tumor and cyst by itself, everything but its largest component."""
    box = foreground_box(labels)
    if box is None:
        return labels
    kept = labels.copy()
    inside = kept[box]
    for value in LABELS.values():
        mask = inside == value
        numbers, n = number_components(mask)
        if n > 1:
            inside[mask & (numbers != np.argmax(count_voxels(numbers, n, mask)))] = BACKGROUND
    return kept


def drop_detached_lesions(labels: LabelMap) -> LabelMap:
    """Drops tumors and cysts that touch no kidney, neither themselves nor through other lesions.

    A tumor may have replaced its whole kidney. Where fewer than two components have renal tissue (and the size that
    `SECOND_KIDNEY` asks for), as many of the largest lesions without a kidney, of that size too, stay in the place of
    those that are missing; so nothing is lost where the two kidneys are a tumor each. A lesion of that size beside two
    kidneys is dropped with a warning in the log.
    """

    def bears_or_replaces_a_kidney(voxels: NDArray[np.int64], renal: NDArray[np.int64]) -> NDArray[np.bool_]:
        large = _large_enough(voxels, renal)
        missing = max(0, 2 - int(np.count_nonzero(large & (renal > 0))))
        detached = large & (renal == 0)
        stay = _largest(voxels, detached, count=missing)
        for size in voxels[detached & ~stay]:
            log.warning(
                "A lesion of %d voxels touches neither of the two kidneys and is dropped: "
                "set postprocessing.drop_detached_lesions=false to keep it.",
                size,
            )
        return stay | (renal > 0)

    return _keep(labels, bears_or_replaces_a_kidney)


RULES: dict[str, Callable[[LabelMap], LabelMap]] = {
    "two_kidneys": keep_two_kidneys,
    "largest_per_label": keep_largest_per_label,
    "largest": keep_largest,
    "all": keep_all,
}


def choose_rule(keep: str) -> Callable[[LabelMap], LabelMap]:
    """The rule that `postprocessing.keep` names.

    Raises:
        InputError: there is none of that name.
    """
    if not isinstance(keep, str) or keep not in RULES:
        raise InputError(f"postprocessing.keep={keep} is unknown: choose one of {', '.join(RULES)}.")
    return RULES[keep]


@dataclass(frozen=True)
class PostProcessing:
    """What is done to a predicted label map: first detached lesions go, then the rule decides what else stays.

    In this order a large mistake that touches no kidney cannot take a kidney's place among the two largest. With
    `keep="all"` and no dropping nothing is done.

    Args:
        keep: which components stay: `two_kidneys`, `largest_per_label`, `largest` or `all`.
        drop_detached_lesions: whether tumors and cysts that touch no kidney go.

    Raises:
        InputError: there is no such rule, or the switch is neither true nor false.
    """

    keep: str = "two_kidneys"
    drop_detached_lesions: bool = True

    def __post_init__(self) -> None:
        choose_rule(self.keep)
        if not isinstance(self.drop_detached_lesions, bool):
            raise InputError(
                f"postprocessing.drop_detached_lesions={self.drop_detached_lesions} is no switch: give true or false."
            )

    def __call__(self, labels: LabelMap) -> LabelMap:
        """Post-processes one label map `(D, H, W)`, uint8, which is not changed itself."""
        if self.drop_detached_lesions:
            labels = drop_detached_lesions(labels)
        return choose_rule(self.keep)(labels)


def _keep(labels: LabelMap, choose: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]]) -> LabelMap:
    """Keeps the components of the foreground `(D, H, W)` that `choose` takes.

    Args:
        labels: `(D, H, W)`.
        choose: gets the voxels and the renal voxels of each component, `(n + 1,)` with zeros for the background at
            place 0, and returns which stay, `(n + 1,)`.
    """
    box = foreground_box(labels)
    if box is None:
        return labels
    inside = labels[box]
    foreground = inside > 0
    numbers, n = number_components(foreground)
    stays = choose(count_voxels(numbers, n, foreground), count_voxels(numbers, n, inside == KIDNEY))
    if stays[1:].all():
        return labels
    kept = labels.copy()
    kept[box] *= stays[numbers]
    return kept


def _large_enough(voxels: NDArray[np.int64], renal: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which components may be a kidney by their size, see `SECOND_KIDNEY`.

    Next to a tumor of more than ten times the renal tissue, a tenth of the tumor measures: where tumors have replaced
    both kidneys, what is left of renal tissue may be a crumb.
    """
    large: NDArray[np.bool_] = voxels >= SECOND_KIDNEY * max(renal.max(), SECOND_KIDNEY * voxels.max())
    return large


def _largest(voxels: NDArray[np.int64], candidates: NDArray[np.bool_], *, count: int) -> NDArray[np.bool_]:
    """Which of the components are the `count` largest candidates; of two alike the one that comes first."""
    order = np.argsort(np.where(candidates, -voxels, 1), kind="stable")
    chosen = np.zeros_like(candidates)
    chosen[order[:count]] = True
    return chosen & candidates
