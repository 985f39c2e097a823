"""Times the scoring of one case against the steps of the challenge's evaluation: reading included, three classes.

    python benchmarks/evaluation.py path/to/case_00000

Takes the folder of a case or a segmentation. The prediction is the reference moved by some voxels (`--shift`, 1) and
eroded once, so that the surfaces disagree everywhere. Needs the package `surface-distance` (in the extra `dev`), with
which KiTS21 and KiTS23 score. Every row is a process of its own with one thread; seconds are medians, and MiB are the
largest resident memory of the process, imports and arrays included. The second pair of rows adds the 95th percentile of
the Hausdorff distance and the average surface distance over both surfaces.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from scipy import ndimage

from kidney_lab.data.nifti import read_volume, write_volume
from kidney_lab.geometry import Volume
from kidney_lab.labels import OFFICIAL_REGIONS, REGIONS

LABEL = "segmentation.nii.gz"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
Scores = dict[str, float]


def challenge(prediction: Path, reference: Path, *, distances_too: bool = False) -> Scores:
    """The challenge's steps, in one process: nibabel, whole masks, distance volumes."""
    import surface_distance

    from kidney_lab.metrics.tolerances import TOLERANCES_MM

    image: Any = nib.load(reference)
    spacing_mm = [float(step) for step in image.header.get_zooms()]
    predicted, wanted = (np.asanyarray(nib.load(path).dataobj) for path in (prediction, reference))
    scores = {}
    for region in OFFICIAL_REGIONS:
        inside, target = (np.isin(labels, REGIONS[region]) for labels in (predicted, wanted))
        total = inside.sum() + target.sum()
        scores[f"{region} dice"] = float(2 * (inside & target).sum() / total)
        found = surface_distance.compute_surface_distances(target, inside, spacing_mm)
        overlap = surface_distance.compute_surface_dice_at_tolerance(found, TOLERANCES_MM[region])
        scores[f"{region} surface_dice"] = float(overlap)
        if distances_too:
            scores[f"{region} hd95"] = float(surface_distance.compute_robust_hausdorff(found, 95))
            areas = [found[f"surfel_areas_{whose}"].sum() for whose in ("gt", "pred")]
            averages = surface_distance.compute_average_surface_distance(found)
            scores[f"{region} assd"] = float(np.average(averages, weights=areas))  # both surfaces as one list
    return scores


def challenge_with_distances(prediction: Path, reference: Path) -> Scores:
    """The same steps and the package's other two metrics."""
    return challenge(prediction, reference, distances_too=True)


def ours(prediction: Path, reference: Path, *, metrics: tuple[str, ...] = ("dice", "surface_dice")) -> Scores:
    """What `task=evaluate` does with a case."""
    from kidney_lab.metrics.case_scores import Scoring
    from kidney_lab.metrics.evaluate import score_files
    from kidney_lab.metrics.pairs import ScoredFiles

    results = score_files([ScoredFiles("case", prediction, reference)], Scoring(metrics=metrics), workers=1)
    return {f"{region} {metric}": value for (region, metric), value in results["case"].scores.items()}


def ours_with_distances(prediction: Path, reference: Path) -> Scores:
    """The same and both distances."""
    return ours(prediction, reference, metrics=("dice", "surface_dice", "hd95", "assd"))


ROWS: dict[str, Callable[[Path, Path], Scores]] = {
    "challenge": challenge,
    "kidney_lab": ours,
    "challenge + HD95, ASSD": challenge_with_distances,
    "kidney_lab + HD95, ASSD": ours_with_distances,
}


def perturbed(reference: Volume, shift: int = 1) -> Volume:
    """Moves a label map in plane and takes one layer off its foreground."""
    moved = np.roll(reference.array, shift, axis=1)
    box = tuple(
        slice(max(side.start - 2, 0), side.stop + 2) for side in ndimage.find_objects((moved > 0).view(np.uint8))[0]
    )
    kept = np.zeros_like(moved)
    kept[box] = moved[box] * ndimage.binary_erosion(moved[box] > 0)
    return Volume(kept, reference.grid)


def measure(row: str, prediction: Path, reference: Path, repeats: int) -> dict[str, Any]:
    """Scores, median seconds and the peak memory of this process in MiB."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        scores = ROWS[row](prediction, reference)
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return {"scores": scores, "seconds": statistics.median(seconds), "mib": peak}


def measure_apart(row: str, prediction: Path, reference: Path, repeats: int) -> dict[str, Any]:
    """The same in a process of its own with one thread."""
    command = [sys.executable, __file__, str(reference), "--repeats", str(repeats), "--row", row, str(prediction)]
    done = subprocess.run(command, env=os.environ | ONE_THREAD, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    """Prints seconds and memory of both sides, their ratio and the largest difference of a score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", type=Path, help=f"a segmentation, or the folder that holds {LABEL}")
    parser.add_argument("--shift", type=int, default=1, help="voxels between prediction and reference")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--row", nargs=2, help=argparse.SUPPRESS)  # one row, in a process that this script started
    arguments = parser.parse_args()
    reference: Path = arguments.case / LABEL if arguments.case.is_dir() else arguments.case
    if not reference.is_file():
        parser.error(f"{reference} does not exist; give a segmentation or the folder of a KiTS case.")
    if arguments.row:
        print(json.dumps(measure(arguments.row[0], Path(arguments.row[1]), reference, arguments.repeats)))
        return
    volume = read_volume(reference)
    shape = " x ".join(map(str, volume.array.shape))
    print(
        f"{shape} voxels, spacing {[round(step, 3) for step in volume.grid.spacing]} mm, median of {arguments.repeats}"
    )
    with tempfile.TemporaryDirectory() as folder:
        prediction = Path(folder) / LABEL
        write_volume(prediction, perturbed(volume, arguments.shift))
        del volume
        for theirs, mine in (list(ROWS)[:2], list(ROWS)[2:]):
            rows = {name: measure_apart(name, prediction, reference, arguments.repeats) for name in (theirs, mine)}
            for name, row in rows.items():
                print(f"  {name:26}{row['seconds']:8.2f} s {row['mib']:7.0f} MiB")
            first, second = rows.values()
            off = max(abs(first["scores"][key] - second["scores"][key]) for key in first["scores"])
            speed, memory = first["seconds"] / second["seconds"], second["mib"] / first["mib"]
            print(f"  {speed:.1f} times as fast, {memory:.2f} of the memory, largest difference of a score {off:.1e}\n")


if __name__ == "__main__":
    main()
