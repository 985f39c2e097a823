"""Every spatial change of a training patch in one interpolation.

Chained transforms interpolate once each, which blurs the image each time and costs as much each time. Here rotation,
scaling and elastic deformation are composed first and sampled once; flips and quarter turns move voxels exactly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform, RandomizableTransform
from monai.transforms.utils import create_rotate
from monai.utils import convert_to_tensor
from numpy.typing import NDArray
from torch import Tensor

from kidney_lab.errors import InputError
from kidney_lab.transforms.arguments import PerAxis, factors, modes, per_axis, share
from kidney_lab.transforms.deformation import Deformation, control_shape, sampling_grid, source_shape
from kidney_lab.transforms.resampling import Mode, fit, sample_image, sample_label

MAX_FOLD = 0.4
"""Displacement of control points, in their spacing, under which cubic B-splines cannot fold.

1 / 2.48 in 3D and 1 / 2.05 in 2D (Choi & Lee, Graphical Models 62(6), 2000).
"""


@dataclass(frozen=True)
class SpatialDraw:
    """What was drawn for one sample.

    Args:
        shape: of the result.
        deformation: in front of the exact moves; None: nothing is interpolated.
        quarter_turns: of the result by 90 degrees from rows to columns, 0 to 3.
        flips: axes of the tensor `(C, *shape)` that are flipped at last.
    """

    shape: tuple[int, ...]
    deformation: Deformation | None
    quarter_turns: int
    flips: tuple[int, ...]

    @property
    def turned(self) -> tuple[int, ...]:
        """Shape before the quarter turns."""
        return (*self.shape[:-2], *self.shape[:-3:-1]) if self.quarter_turns % 2 else self.shape


class RandSpatiald(RandomizableTransform, MapTransform):
    """Rotates, scales, deforms, turns and flips image and label together, 2D `(C, H, W)` or 3D `(C, D, H, W)`.

    Everything is drawn independently, each with its own probability. Angles and displacements are in voxels of the
    patch's grid: where slices are much thicker than pixels, give 0 about H and W. The result is on the image's device,
    as plain tensors: MONAI's affine is not tracked.

    Args:
        keys: of the tensors to change, all on one grid; `prior` is the label map that an earlier stage predicted.
        mode: of every key: `bilinear` for images; for labels `linear` (each class linearly, then the largest) or
            `nearest`.
        spatial_size: of the result, cut from the centre; None: the shape of the input. An input smaller than what is
            read is padded: images with their border, labels with 0.
        rotate_prob: of a rotation.
        rotate_range: largest angle about the axes D, H and W, in rad; slices are rotated by that about D.
        scale_prob: of a scaling.
        scale_range: (smallest, largest) factor of the field of view, over 1 shows more, smaller; or one pair per axis.
        scale_isotropic: one draw for all axes; False: one each.
        elastic_prob: of an elastic deformation.
        elastic_spacing: voxels between its control points.
        elastic_magnitude: most that a control point moves along an axis, in voxels, at most 0.4 of the spacing so that
            nothing folds; a sample's own strength is drawn between 0 and this, and between control points it is less.
        flip_prob: of a flip, for each axis of its own.
        flip_axes: spatial axes that may be flipped, -1 is W; None: all.
        rotate90_prob: of 1 to 3 quarter turns in the plane of the slice.
        allow_missing_keys: skip keys that a sample lacks.

    Raises:
        InputError: if a value is out of its range.
    """

    def __init__(
        self,
        keys: str | Sequence[str] = ("image", "label", "prior"),
        mode: Mode | Sequence[Mode] = ("bilinear", "linear", "linear"),
        *,
        spatial_size: Sequence[int] | None = None,
        rotate_prob: float = 0.0,
        rotate_range: PerAxis = 0.0,
        scale_prob: float = 0.0,
        scale_range: Sequence[float] | Sequence[Sequence[float]] = (1.0, 1.0),
        scale_isotropic: bool = True,
        elastic_prob: float = 0.0,
        elastic_spacing: PerAxis = 32.0,
        elastic_magnitude: PerAxis = 0.0,
        flip_prob: float = 0.0,
        flip_axes: Sequence[int] | None = None,
        rotate90_prob: float = 0.0,
        allow_missing_keys: bool = True,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob=1.0)
        self.modes = modes(mode, len(self.keys))
        self.spatial_size = spatial_size
        self.rotate_prob = share("rotate_prob", rotate_prob)
        self.rotate_range = per_axis("rotate_range", rotate_range)
        self.scale_prob = share("scale_prob", scale_prob)
        self.scale_range = factors("scale_range", scale_range)
        self.scale_isotropic = scale_isotropic
        self.elastic_prob = share("elastic_prob", elastic_prob)
        self.elastic_spacing = per_axis("elastic_spacing", elastic_spacing)
        self.elastic_magnitude = per_axis("elastic_magnitude", elastic_magnitude)
        self.flip_prob = share("flip_prob", flip_prob)
        self.flip_axes = flip_axes
        self.rotate90_prob = share("rotate90_prob", rotate90_prob)
        self.drawn: SpatialDraw | None = None
        if np.any(self.elastic_magnitude > MAX_FOLD * self.elastic_spacing):
            raise InputError(
                f"augment: elastic_magnitude={elastic_magnitude} is over {MAX_FOLD} of "
                f"elastic_spacing={elastic_spacing}, so the deformation could fold over itself: lower it, or space the "
                "control points wider."
            )

    def randomize(self, data: Sequence[int]) -> None:
        """Draws the parameters of the next sample.

        Args:
            data: shape of the result, `(D, H, W)` or `(H, W)`.
        """
        shape = tuple(int(size) for size in data)
        n = len(shape)
        # Everything is drawn every time, so that one probability does not change what the others draw.
        rotated, scaled, deformed, turned = self.R.random_sample(4) < (
            self.rotate_prob,
            self.scale_prob,
            self.elastic_prob,
            self.rotate90_prob,
        )
        angles = self.R.uniform(-1, 1, 3) * self.rotate_range
        scales = self._scales(self.R.random_sample(3), n)
        quarter_turns, flipped = int(self.R.randint(1, 4)), self.R.random_sample(n) < self.flip_prob
        flips = tuple(1 + axis for axis in self._flip_axes(n) if flipped[axis])
        draw = SpatialDraw(shape, None, quarter_turns if turned else 0, flips)
        if rotated or scaled or deformed:
            rotation = create_rotate(n, angles[: 3 if n == 3 else 1])[:n, :n] if rotated else np.eye(n)
            matrix = rotation @ np.diag(scales) if scaled else rotation
            draw = replace(draw, deformation=self._deformation(matrix, draw.turned, deformed))
        self.drawn = draw

    def source_shape(self) -> tuple[int, ...]:
        """Shape of the box that the last draw reads: see `Augment.draw`.

        Raises:
            RuntimeError: if nothing was drawn before.
        """
        draw = self._last_draw()
        read = draw.turned if draw.deformation is None else source_shape(draw.deformation, draw.turned)
        return tuple(n + 2 * max(0, -(-(m - n) // 2)) for n, m in zip(draw.shape, read, strict=True))

    def __call__(self, data: Mapping[str, Any], randomize: bool = True) -> dict[str, Any]:
        """Changes every key of a sample alike.

        Args:
            data: the sample; tensors or arrays `(C, *spatial)`, all of one spatial shape.
            randomize: draw anew; False: apply the last draw.

        Returns:
            A copy of the sample with tensors of the drawn shape: images float32, labels uint8.
        """
        sample = dict(data)
        tensors = {
            key: convert_to_tensor(sample[key], dtype=torch.float32 if mode == "bilinear" else torch.uint8)
            for key, mode in self.key_iterator(sample, self.modes)
        }
        if not tensors:
            return sample
        first = next(iter(tensors.values()))
        if randomize:
            self.randomize(first.shape[1:] if self.spatial_size is None else self.spatial_size)
        draw, box = self._last_draw(), self.source_shape()
        grid = None
        if draw.deformation is not None:
            grid = sampling_grid(draw.deformation, draw.turned, box, first.device)
        for key, mode in self.key_iterator(sample, self.modes):
            if grid is None:
                moved = fit(tensors[key], draw.turned, mode)
            elif mode == "bilinear":
                moved = sample_image(fit(tensors[key], box, mode), grid)
            else:
                moved = sample_label(fit(tensors[key], box, mode), grid, mode)
            sample[key] = _turn_and_flip(moved, draw)
        return sample

    def _flip_axes(self, n: int) -> list[int]:
        axes = range(n) if self.flip_axes is None else self.flip_axes
        if any(not -n <= axis < n for axis in axes):
            raise InputError(
                f"augment: flip_axes={self.flip_axes} names an axis that a {n}D sample lacks: write {-n} to {n - 1}."
            )
        return [axis % n for axis in axes]

    def _scales(self, quantiles: NDArray[np.float64], n: int) -> NDArray[np.float64]:
        """Factors of the field of view along `n` axes."""
        low, high = self.scale_range[-n:].T
        chosen = quantiles[0] if self.scale_isotropic else quantiles[-n:]
        return np.asarray(low + chosen * (high - low))

    def _deformation(self, matrix: NDArray[np.float64], shape: Sequence[int], deformed: bool) -> Deformation:
        if not deformed:
            return Deformation(matrix)
        n = len(shape)
        spacing = tuple(self.elastic_spacing[-n:].tolist())
        magnitude = self.R.random_sample() * self.elastic_magnitude[-n:]
        moves = self.R.uniform(-1, 1, (n, *control_shape(shape, spacing)))
        return Deformation(matrix, (magnitude.reshape(-1, *[1] * n) * moves).astype(np.float32), spacing)

    def _last_draw(self) -> SpatialDraw:
        if self.drawn is None:
            raise RuntimeError("RandSpatiald.randomize must be called first")
        return self.drawn


def _turn_and_flip(tensor: Tensor, draw: SpatialDraw) -> Tensor:
    if draw.quarter_turns:
        tensor = torch.rot90(tensor, draw.quarter_turns, dims=(-2, -1))
    return (tensor.flip(draw.flips) if draw.flips else tensor).contiguous()
