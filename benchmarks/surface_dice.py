"""Times the official scores against the published evaluation code on one full-size segmentation.

    python benchmarks/surface_dice.py path/to/case_00000/segmentation.nii.gz

The prediction is the reference moved by one voxel and eroded once, so that the surfaces disagree everywhere. Needs the
package `surface-distance` (in the extra `dev`). Reading the file is not timed. Peak memory is that of NumPy's and
Python's allocations during the call, measured in a call of its own because tracing slows both down.
"""

import argparse
import statistics
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import scipy.ndimage
import surface_distance
from numpy.typing import NDArray

from kidney_lab.geometry import Grid, Spacing
from kidney_lab.labels import OFFICIAL_REGIONS, REGIONS
from kidney_lab.metrics import TOLERANCES_MM, dice, kits_scores

Scores = dict[tuple[str, str], float]


def official_scores(prediction: NDArray[Any], reference: NDArray[Any], spacing_mm: Spacing) -> Scores:
    """Scores as the challenges' evaluation does: whole masks, distance volumes."""
    scores = {}
    for region in OFFICIAL_REGIONS:
        inside, target = (np.isin(labels, REGIONS[region]) for labels in (prediction, reference))
        scores[region, "dice"] = dice(inside, target)
        distances = surface_distance.compute_surface_distances(target, inside, spacing_mm)
        overlap = surface_distance.compute_surface_dice_at_tolerance(distances, TOLERANCES_MM[region])
        scores[region, "surface_dice"] = float(overlap)
    return scores


def perturbed(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Moves a label map by one voxel in plane and takes one layer off its foreground."""
    moved = np.roll(labels, 1, axis=1)
    box = tuple(
        slice(max(s.start - 2, 0), s.stop + 2) for s in scipy.ndimage.find_objects((moved > 0).view(np.uint8))[0]
    )
    kept = np.zeros_like(moved)
    kept[box] = moved[box] * scipy.ndimage.binary_erosion(moved[box] > 0)
    return kept


def measure(call: Callable[[], Scores], repeats: int) -> tuple[Scores, float, float]:
    """Returns the scores, the median time in seconds and the peak memory in MiB."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        scores = call()
        seconds.append(time.perf_counter() - start)
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return scores, statistics.median(seconds), peak


def main() -> None:
    """Prints both times, their ratio and the largest difference of the scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("segmentation", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    image: Any = nib.load(arguments.segmentation)
    reference = np.asanyarray(image.dataobj).astype(np.uint8)
    spacing_mm = Grid(reference.shape, image.affine).spacing
    prediction = perturbed(reference)

    print(f"{arguments.segmentation}: shape {reference.shape}, spacing {spacing_mm} mm, median of {arguments.repeats}")
    ours, our_s, our_mib = measure(lambda: kits_scores(prediction, reference, spacing_mm), arguments.repeats)
    theirs, their_s, their_mib = measure(lambda: official_scores(prediction, reference, spacing_mm), arguments.repeats)
    print(f"kidney_lab        {our_s:7.2f} s  {our_mib:7.0f} MiB")
    print(f"surface-distance  {their_s:7.2f} s  {their_mib:7.0f} MiB")
    print(f"ratio             {our_s / their_s:7.2f}    {our_mib / their_mib:7.2f}")
    print(f"largest difference of a score: {max(abs(ours[key] - theirs[key]) for key in theirs):.1e}")


if __name__ == "__main__":
    main()
