"""Official scores of 30 real KiTS19 masks against perturbed copies equal those of the published evaluation's package.

The package cannot take empty masks under NumPy 2: for them the challenges' rule is written out. Masks are cut to their
foreground and a margin, which changes no score and spares time.
"""

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from kidney_lab.labels import KIDNEY, TUMOR
from kidney_lab.metrics import kits_scores

surface_distance = pytest.importorskip("surface_distance", reason="surface-distance is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:surface_distance")

# of the first 120 cases those with the fewest slices, which have thick ones, and some with thin ones
THICK = (61, 38, 110, 21, 30, 94, 113, 87, 10, 108, 41, 64, 89, 70, 7, 45, 4, 76, 51, 117, 15, 90, 109, 9, 11)
THIN = (2, 34, 57, 97, 107)
CASES = [pytest.param(n, marks=[] if i % 15 == 0 else pytest.mark.slow) for i, n in enumerate((*THICK, *THIN))]

CLASSES = {
    "kidney_and_mass": ((1, 2, 3), 1.0330772532390826),
    "mass": ((2, 3), 1.1328796488598762),
    "tumor": ((2,), 1.1498198361434828),
}


def published(prediction, reference, spacing_mm):
    scores = {}
    for name, (labels, tolerance_mm) in CLASSES.items():
        inside, target = np.isin(prediction, labels), np.isin(reference, labels)
        if not (inside.any() and target.any()):
            scores[name, "dice"] = scores[name, "surface_dice"] = float(not (inside.any() or target.any()))
            continue
        found = surface_distance.compute_surface_distances(target, inside, spacing_mm)
        scores[name, "dice"] = 2 * np.sum(inside & target) / (np.sum(inside) + np.sum(target))
        scores[name, "surface_dice"] = surface_distance.compute_surface_dice_at_tolerance(found, tolerance_mm)
    return scores


def shifted(labels, rng):
    return np.roll(labels, rng.integers(-3, 4, 3) + np.array((0, 4, 0)), axis=(0, 1, 2))


def eroded(labels, rng):
    return labels * ndimage.binary_erosion(labels > 0, iterations=int(rng.integers(1, 3)))


def deformed(labels, rng):
    field = [ndimage.gaussian_filter(rng.normal(size=labels.shape), (1, 6, 6)) for _ in range(3)]
    places = [
        grid + amount * axis / axis.std()
        for grid, axis, amount in zip(np.indices(labels.shape), field, (0.5, 3, 3), strict=True)
    ]
    return ndimage.map_coordinates(labels, places, order=0)


def without_lesions(labels, rng):
    return np.where(labels == TUMOR, KIDNEY, labels)


@pytest.mark.parametrize("number", CASES)
def test_scores_of_a_real_case_equal_the_published_ones(shared_data, number):
    file = nib.load(shared_data / "kits19" / f"case_{number:05d}" / "segmentation.nii.gz")
    labels = np.asanyarray(file.dataobj).astype(np.uint8)
    box = tuple(slice(max(s.start - 5, 0), s.stop + 5) for s in ndimage.find_objects((labels > 0).view(np.uint8))[0])
    reference, spacing_mm = labels[box], tuple(float(step) for step in file.header.get_zooms())
    rng = np.random.default_rng(number)
    predictions = {change.__name__: change(reference, rng) for change in (shifted, eroded, deformed, without_lesions)}
    for name, prediction in predictions.items():
        scores = kits_scores(prediction, reference, spacing_mm)
        assert scores == pytest.approx(published(prediction, reference, spacing_mm), abs=1e-9), name
        assert scores["kidney_and_mass", "dice"] < 1 or name == "without_lesions"
    healthy = predictions["without_lesions"]
    for target in (reference, healthy):  # lesions removed from one or from both
        assert kits_scores(healthy, target, spacing_mm) == published(healthy, target, spacing_mm)
        assert kits_scores(target, healthy, spacing_mm) == published(target, healthy, spacing_mm)
