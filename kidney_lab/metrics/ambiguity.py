"""How sharp the border of a region is in the CT: "blurry" and "crisp" edges made measurable.

Table 2 of ERNet (Xue et al., Traitement du Signal 42(4), 2025) has scores for blurry and for crisp edges, but the paper
does not say what makes an edge blurry. Here it is the mean magnitude of the gradient of Hounsfield units along the
reference's border, and cases are split at the median. Thicker slices blur the borders between slices, so that the
measure also reflects the scan and not the patient alone.
"""

from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from kidney_lab.errors import InputError
from kidney_lab.geometry import Spacing
from kidney_lab.metrics.surface import check_pair, common_box

BLURRY: Final = "blurry"
CRISP: Final = "crisp"

_TRUNCATE = 4.0  # standard deviations after which the Gaussian ends


def border_gradient(image: NDArray[Any], mask: NDArray[Any], spacing_mm: Spacing, *, sigma_mm: float = 1.0) -> float:
    """Mean gradient magnitude of the CT along the border of a region.

    The mean of `|grad I|` over the voxels on both sides of the border (those with a face in common with the other
    side), by central differences in mm, after a Gaussian of `sigma_mm`. Without it the noise of a CT, 15 HU and more
    from voxel to voxel, would be as steep as the border of a tumor in a kidney. Where a region is cut by the end of the
    scan is no border.

    Args:
        image: `(D, H, W)`, Hounsfield units.
        mask: of the region, of the same shape; nonzero is inside.
        spacing_mm: distance between voxels, (D, H, W), in mm.
        sigma_mm: standard deviation of the Gaussian, in mm; 0 takes the image as it is.

    Returns:
        HU per mm, larger is crisper; NaN where the region is empty or fills the scan.

    Raises:
        InputError: if the shapes differ, are not three-dimensional, or the spacing is not positive.
    """
    check_pair(mask, mask, spacing_mm)
    if image.shape != mask.shape:
        raise InputError(
            f"The image has shape {image.shape} and its reference {mask.shape} (D, H, W): give the image that the "
            "reference was drawn on."
        )
    sigma = sigma_mm / np.asarray(spacing_mm)
    margin = (
        np.ceil(_TRUNCATE * sigma).astype(int) + 2
    )  # beyond the border: one voxel, one of differences, the Gaussian
    box = tuple(
        slice(max(side.start - m, 0), side.stop + m) for side, m in zip(common_box(mask), margin.tolist(), strict=True)
    )
    inside = mask[box] != 0
    border = ndimage.binary_dilation(inside) ^ ndimage.binary_erosion(inside, border_value=1)
    at = np.nonzero(border)
    if not at[0].size:
        return np.nan
    smooth = ndimage.gaussian_filter(image[box].astype(np.float32), sigma, truncate=_TRUNCATE, mode="nearest")
    squares = [_difference(smooth, at, axis) ** 2 / step**2 for axis, step in enumerate(spacing_mm)]
    return float(np.sqrt(np.sum(squares, axis=0)).mean())


def _difference(volume: NDArray[np.float32], at: tuple[NDArray[np.intp], ...], axis: int) -> NDArray[np.float64]:
    """Central difference along an axis at some voxels, per voxel; one-sided at the ends; 0 on an axis of length 1."""
    ahead, behind = list(at), list(at)
    ahead[axis] = np.minimum(at[axis] + 1, volume.shape[axis] - 1)
    behind[axis] = np.maximum(at[axis] - 1, 0)
    steps = np.maximum(ahead[axis] - behind[axis], 1)
    return np.asarray((volume[tuple(ahead)].astype(float) - volume[tuple(behind)]) / steps)


def split_at_median(gradients: "pd.Series[float]") -> "tuple[pd.Series[Any], float]":
    """Splits cases into those with blurry and those with crisp borders.

    Args:
        gradients: HU per mm by case, from `border_gradient`; NaN is undefined.

    Returns:
        "blurry" below the median, "crisp" from it on, missing where undefined; and the median, which is the threshold
        to be reported, NaN without any value.
    """
    threshold = float(gradients.median())
    classes = pd.Series(np.where(gradients < threshold, BLURRY, CRISP), gradients.index, dtype=object)
    return classes.where(gradients.notna(), None), threshold
