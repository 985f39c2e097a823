"""Synthesizes a contrast-enhanced abdominal CT around a label map of the kidneys, where there are no scans.

No paper: attenuations are textbook values, spread per case so that no fixed window of Hounsfield units finds tumors.
The volume is painted slice by slice; what varies slowly (deformation, texture, depth inside the kidney) is kept on a
coarse lattice and interpolated, so that a scan of 600 slices needs little more memory than the int16 volume itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import BSpline

from kidney_lab.data.anatomy import FAT_HU, Body, FloatArray, Plane, draw_body, renal_vessels
from kidney_lab.errors import InputError
from kidney_lab.geometry import Spacing, Triple
from kidney_lab.labels import CYST, KIDNEY, TUMOR

RECIPE = 1  # raised whenever the same label and generator give another image, so that stores notice
COARSE_MM = 2.0
FAT_MARGIN_MM = 30.0
BEND_MM = 4.0
Box = tuple[slice, slice, slice]


class Field:
    """A smooth function over a volume, held as B-spline coefficients and evaluated one slice at a time.

    Args:
        coefficients: `(d, h, w)` float32.
        positions: for every voxel index of each axis, its place among the coefficients' knots.
        degree: of the spline; 1 interpolates linearly.
    """

    def __init__(self, coefficients: FloatArray, positions: Sequence[NDArray[np.floating]], *, degree: int) -> None:
        self.coefficients = coefficients
        # Sparse products instead of BLAS: the same bits whatever the number of threads.
        self.operators = [
            BSpline.design_matrix(place, np.arange(-degree, size + 1.0), degree).astype(np.float32)
            for place, size in zip(positions, coefficients.shape, strict=True)
        ]

    def at(self, z: int) -> FloatArray:
        """Values on slice `z`, `(H, W)` float32."""
        weights, rows, columns = self.operators[0][[z]], self.operators[1], self.operators[2]
        plane = (weights.data[:, None, None] * self.coefficients[weights.indices]).sum(axis=0)
        values: FloatArray = np.ascontiguousarray((columns @ (rows @ plane).T).T)
        return values


def smooth_noise(shape: Triple, *, spacing_mm: Spacing, scale_mm: float, rng: np.random.Generator) -> Field:
    """Smooth random field of zero mean and about unit variance.

    Args:
        shape: `(D, H, W)`.
        spacing_mm: `(D, H, W)`.
        scale_mm: distance between the knots; structures are about twice as large.
        rng: source of the coefficients.

    Returns:
        A cubic spline field.
    """
    positions = [np.arange(n) * step / scale_mm for n, step in zip(shape, spacing_mm, strict=True)]
    size = [max(1, int(np.ceil(place[-1]))) + 3 for place in positions]
    spread = (151 / 315) ** 1.5  # what a product of three cubic B-splines leaves of the coefficients' deviation
    coefficients = rng.standard_normal(size, dtype=np.float32) / np.float32(spread)
    return Field(coefficients, positions, degree=3)


def interpolated(coarse: FloatArray, *, shape: Triple, strides: Triple) -> Field:
    """Linear interpolation to `shape` of values known at every `strides`-th voxel."""
    padded = np.pad(coarse, [(0, 1)] * 3, mode="edge")
    positions = [np.arange(n) / step for n, step in zip(shape, strides, strict=True)]
    return Field(padded, positions, degree=1)


def depth_mm(mask: NDArray[np.bool_], *, spacing_mm: Spacing, goes_on: bool) -> Field:
    """Distance of every voxel in a mask to the mask's surface, in mm; 0 outside.

    Measured on voxels that are `COARSE_MM` apart, where the grid is finer than that.

    Args:
        mask: `(D, H, W)`.
        spacing_mm: `(D, H, W)`.
        goes_on: whether the mask goes on beyond the volume's faces, or ends there.

    Returns:
        The distance from the edge of the outermost voxels; large where the mask has no surface at all.
    """
    strides = _coarse_strides(spacing_mm)
    coarse = mask[:: strides[0], :: strides[1], :: strides[2]]
    coarse = np.pad(coarse, 1, mode="edge") if goes_on else np.pad(coarse, 1)
    sampling = np.multiply(strides, spacing_mm)
    if coarse.all():
        distance = np.full(coarse.shape, 1e3)
    else:
        distance = ndimage.distance_transform_edt(coarse, sampling=sampling)
    inner = np.maximum(distance[1:-1, 1:-1, 1:-1] - sampling.min() / 2, 0).astype(np.float32)
    return interpolated(inner, shape=_triple(mask.shape), strides=strides)


@dataclass(frozen=True)
class Scan:
    """Where the kidneys lie in a scan.

    Args:
        origin_mm: `(z, y, x)` of the point between the kidneys, from the first voxel.
        footprint_mm: `(N, 2)` every (y, x) with foreground above or below it, from the origin.
        centers_mm: `(z, y, x)` of the kidney on either side, from the origin; none in an empty map.
        box: of the foreground with a margin for the fat around it; None in an empty map.
    """

    origin_mm: NDArray[np.float64]
    footprint_mm: NDArray[np.float64]
    centers_mm: list[tuple[float, float, float]]
    box: Box | None


def synthesize_ct(label: NDArray[np.integer], spacing_mm: Spacing, rng: np.random.Generator) -> NDArray[np.int16]:
    """Paints a plausible contrast-enhanced abdominal CT around any KiTS label map.

    Args:
        label: `(D, H, W)` in orientation IPL: 0 background, 1 kidney, 2 tumor, 3 cyst; may be empty.
        spacing_mm: `(D, H, W)`.
        rng: the only source of randomness: the same state gives the same bits.

    Returns:
        `(D, H, W)` int16 in Hounsfield units, from -1024 to 3071.

    Raises:
        InputError: if the map is no KiTS label map or the spacing is not positive.
    """
    _check(label, spacing_mm)
    labels: NDArray[np.uint8] = label.astype(np.uint8, copy=False)
    scan = locate(labels, spacing_mm)
    top = -float(scan.origin_mm[0])
    body = draw_body(
        scan.footprint_mm.astype(np.float32),
        field_mm=(label.shape[1] * spacing_mm[1], label.shape[2] * spacing_mm[2]),
        z_range=(top, top + label.shape[0] * spacing_mm[0]),
        rng=rng,
    )
    body = replace(body, midline=(*body.midline, *renal_vessels(scan.centers_mm, rng)))
    volume = _paint_body(body, scan, labels, spacing_mm=spacing_mm, rng=rng)
    if scan.box is not None:
        inside = labels[scan.box] > 0
        volume[scan.box][inside] = paint_kidneys(labels[scan.box], spacing_mm, rng)[inside]
    acquire(volume, spacing_mm=spacing_mm, rng=rng)
    return volume


def locate(label: NDArray[np.uint8], spacing_mm: Spacing) -> Scan:
    """Finds the kidneys of a label map `(D, H, W)`; an empty map is centered on its field of view."""
    boxes = [box for box in ndimage.find_objects(label) if box is not None]
    size = np.multiply(label.shape, spacing_mm)
    if not boxes:
        return Scan(size / 2, np.empty((0, 2)), [], None)
    ends = [(min(b[axis].start for b in boxes), max(b[axis].stop for b in boxes)) for axis in range(3)]
    tight = tuple(slice(start, stop) for start, stop in ends)
    corner = np.array([ends[1][0], ends[2][0]])
    footprint = (np.argwhere(label[tight].max(axis=0)) + corner) * np.array(spacing_mm[1:])
    sides = [side for side in (footprint[:, 1] < size[2] / 2, footprint[:, 1] >= size[2] / 2) if side.any()]
    between = np.mean([footprint[side, 1].mean() for side in sides]) if len(sides) == 2 else size[2] / 2
    middle = float(np.clip(between, 0.42 * size[2], 0.58 * size[2]))
    origin = np.array([np.mean(ends[0]) * spacing_mm[0], np.median(footprint[:, 0]), middle])
    margins = [round(FAT_MARGIN_MM / step) for step in spacing_mm]
    box = tuple(
        slice(max(start - pad, 0), min(stop + pad, n))
        for (start, stop), pad, n in zip(ends, margins, label.shape, strict=True)
    )
    strides = _coarse_strides(spacing_mm)
    coarse = np.argwhere(label[:: strides[0], :: strides[1], :: strides[2]]) * np.multiply(strides, spacing_mm) - origin
    halves = [coarse[coarse[:, 2] < 0], coarse[coarse[:, 2] >= 0]]
    centers = [_triple_mm(half.mean(axis=0)) for half in halves if len(half)]
    return Scan(origin, footprint - origin[1:], centers, (box[0], box[1], box[2]))


def _paint_body(
    body: Body, scan: Scan, label: NDArray[np.uint8], *, spacing_mm: Spacing, rng: np.random.Generator
) -> NDArray[np.int16]:
    """Paints everything but the kidneys, `(D, H, W)` in HU: sharp, without noise."""
    shape = _triple(label.shape)
    bend_y, bend_x = (smooth_noise(shape, spacing_mm=spacing_mm, scale_mm=45, rng=rng) for _ in range(2))
    texture = smooth_noise(shape, spacing_mm=spacing_mm, scale_mm=max(3.5, 1.2 * spacing_mm[2]), rng=rng)
    pad_mm = rng.uniform(5, 12)
    away = None if scan.box is None else depth_mm(label[scan.box] == 0, spacing_mm=spacing_mm, goes_on=True)
    z, rows, columns = (
        np.arange(n, dtype=np.float32) * np.float32(step) - np.float32(start)
        for n, step, start in zip(shape, spacing_mm, scan.origin_mm, strict=True)
    )
    volume = np.empty(shape, dtype=np.int16)
    for index in range(shape[0]):
        shift_y, shift_x = (np.clip(BEND_MM * field.at(index), -10, 10) for field in (bend_y, bend_x))
        plane = Plane(
            z=float(z[index]),
            y=rows[:, None] + shift_y,
            x=columns + shift_x,
            texture=texture.at(index),
            rows=rows,
            columns=columns,
            slack=10,
        )
        canvas = body.paint_trunk(plane)
        if scan.box is not None and away is not None and scan.box[0].start <= index < scan.box[0].stop:
            distance = away.at(index - scan.box[0].start)
            grain = plane.texture[scan.box[1:]]
            near = distance < pad_mm + 0.6 * shift_y[scan.box[1:]]
            canvas[scan.box[1:]][near] = FAT_HU + 9 * grain[near]
        body.paint_midline(canvas, plane)
        volume[index] = canvas
    return volume


def paint_kidneys(label: NDArray[np.uint8], spacing_mm: Spacing, rng: np.random.Generator) -> NDArray[np.int16]:
    """Paints kidneys, tumors and cysts: cortex over medulla, and a character of its own for every lesion.

    Args:
        label: `(D, H, W)`, the box of the kidneys.
        spacing_mm: `(D, H, W)`.
        rng: source of every choice.

    Returns:
        `(D, H, W)` int16 in HU, 0 outside.
    """
    shape = _triple(label.shape)
    cortex, medulla = rng.uniform(150, 220), rng.uniform(80, 140)
    cortex_mm = rng.uniform(4, 7)
    columns = smooth_noise(shape, spacing_mm=spacing_mm, scale_mm=7, rng=rng)
    texture = smooth_noise(shape, spacing_mm=spacing_mm, scale_mm=2.5, rng=rng)
    depth = depth_mm(label > 0, spacing_mm=spacing_mm, goes_on=True)
    tissue = np.zeros(shape, dtype=np.int16)
    for z in range(shape[0]):
        deep = np.clip((depth.at(z) - cortex_mm) / 2.5, 0, 1)
        pyramid = np.clip(1.5 * columns.at(z) + 0.9, 0, 1)
        hu = cortex + (medulla - cortex) * deep * pyramid + 5 * texture.at(z)
        tissue[z] = np.where(label[z] > 0, hu, 0)
    for value in (TUMOR, CYST):
        parts, _ = ndimage.label(label == value, structure=np.ones((3, 3, 3)))
        for part, box in enumerate(ndimage.find_objects(parts), start=1):
            lesion = _draw_lesion(value, cortex, rng=rng)
            lesion.paint(tissue[box], parts[box] == part, spacing_mm=spacing_mm, rng=rng)
    return tissue


@dataclass(frozen=True)
class Lesion:
    """How one tumor or cyst looks.

    Args:
        hu: mean attenuation.
        texture: standard deviation of its inner structure in HU.
        border_mm: width over which it fades into the kidney; 0 is sharp.
        core_hu: attenuation of a necrotic core.
        core_depth: where the core begins, as a part of the largest depth; 1 or more is no core.
    """

    hu: float
    texture: float
    border_mm: float = 0.0
    core_hu: float = 0.0
    core_depth: float = 2.0

    def paint(
        self, tissue: NDArray[np.int16], mask: NDArray[np.bool_], *, spacing_mm: Spacing, rng: np.random.Generator
    ) -> None:
        """Writes the lesion over `tissue` where `mask` holds, both `(D, H, W)`, the lesion's box."""
        shape = _triple(mask.shape)
        diameter = (6 / np.pi * mask.sum() * np.prod(spacing_mm)) ** (1 / 3)
        grain = smooth_noise(shape, spacing_mm=spacing_mm, scale_mm=max(2.5, 0.1 * diameter), rng=rng)
        depth = depth_mm(mask, spacing_mm=spacing_mm, goes_on=False)
        core_mm = self.core_depth * float(depth.coefficients.max()) if diameter > 28 else np.inf
        for z in range(shape[0]):
            inward, rough = depth.at(z), grain.at(z)
            core = np.clip((inward - core_mm + 1.5 * rough) / 2, 0, 1)
            hu = self.hu + self.texture * rough + core * (self.core_hu - self.hu)
            own = np.clip(inward / self.border_mm + 0.2, 0, 1) if self.border_mm else 1.0
            tissue[z] = np.where(mask[z], own * hu + (1 - own) * tissue[z], tissue[z])


def _draw_lesion(value: int, cortex: float, *, rng: np.random.Generator) -> Lesion:
    if value == CYST:
        return Lesion(rng.uniform(1, 18), 2.0)
    isodense, hypodense, hyperdense = rng.uniform(-15, 15), rng.uniform(35, 115), rng.uniform(20, 50)
    # Most renal tumors enhance less than the cortex around them; some as much, some more.
    hu = rng.choice([cortex + isodense, hypodense, cortex + hyperdense], p=[0.15, 0.7, 0.15])
    return Lesion(
        hu=float(hu),
        texture=rng.uniform(4, 20),
        border_mm=rng.uniform(2, 5) if rng.random() < 0.4 else 0.0,
        core_hu=rng.uniform(10, 50),
        core_depth=rng.uniform(0.35, 0.6) if rng.random() < 0.55 else 2.0,
    )


def acquire(volume: NDArray[np.int16], *, spacing_mm: Spacing, rng: np.random.Generator) -> None:
    """Adds, in place, what the scanner does: partial volume within and across slices, and correlated noise.

    Args:
        volume: `(D, H, W)` in HU, sharp; overwritten.
        spacing_mm: `(D, H, W)`; thicker slices blur more into each other, finer pixels correlate more.
        rng: source of the noise and of its deviation, 10 to 25 HU.
    """
    deviation = np.float32(rng.uniform(10, 25))
    grain = float(np.clip(0.9 / spacing_mm[2], 0.3, 1.2))
    kept = np.float32(np.exp(-spacing_mm[0] / 1.2))
    # A thick slice averages more of its neighbours' anatomy.
    neighbour = np.float32(np.clip(0.04 * spacing_mm[0], 0.02, 0.2))
    noise = np.zeros(volume.shape[1:], dtype=np.float32)
    for index in range(volume.shape[0]):
        ndimage.gaussian_filter(volume[index].astype(np.float32), 0.6, output=volume[index])
    above = volume[0].astype(np.float32)
    for index in range(volume.shape[0]):
        here = volume[index].astype(np.float32)
        below = volume[min(index + 1, volume.shape[0] - 1)]
        fresh = ndimage.gaussian_filter(rng.standard_normal(noise.shape, dtype=np.float32), grain)
        fresh *= deviation / max(float(fresh.std()), 1e-6)
        noise = fresh if index == 0 else kept * noise + np.sqrt(1 - kept * kept) * fresh
        mixed = here + neighbour * (above + below - 2 * here) + noise
        volume[index] = np.clip(np.rint(mixed), -1024, 3071)
        above = here


def _check(label: NDArray[np.integer], spacing_mm: Spacing) -> None:
    if label.ndim != 3 or label.size == 0 or not np.issubdtype(label.dtype, np.integer):
        raise InputError(
            f"The label map has shape {label.shape} and type {label.dtype}; a CT is synthesized around "
            "a non-empty volume (D, H, W) of integers: convert it first."
        )
    if label.min() < 0 or label.max() > CYST:
        raise InputError(
            f"The label map holds values from {label.min()} to {label.max()}; allowed are 0 background, {KIDNEY} "
            f"kidney, {TUMOR} tumor and {CYST} cyst: map its values to these."
        )
    if len(spacing_mm) != 3 or not all(np.isfinite(step) and step > 0 for step in spacing_mm):
        raise InputError(f"The spacing is {spacing_mm}; it must be three positive numbers in mm (D, H, W).")


def _coarse_strides(spacing_mm: Spacing) -> Triple:
    d, h, w = (max(1, round(COARSE_MM / step)) for step in spacing_mm)
    return d, h, w


def _triple(shape: tuple[int, ...]) -> Triple:
    d, h, w = shape
    return d, h, w


def _triple_mm(point: NDArray[np.float64]) -> tuple[float, float, float]:
    z, y, x = point
    return float(z), float(y), float(x)
