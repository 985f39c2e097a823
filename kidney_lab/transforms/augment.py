"""The random changes of a training sample: one spatial transform, then intensities."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from monai.data import MetaTensor
from monai.transforms import Compose, Randomizable, Transform

from kidney_lab.errors import InputError
from kidney_lab.transforms.spatial import RandSpatiald

Device = Literal["cpu", "gpu"]


class Augment:
    """What the config group `augment` composes; a sample's changes follow from its seed alone.

    `draw` comes first, because it says how large a box the spatial transform reads:

        shape = augment.draw(roi_size, seed)
        sample = augment({"image": ..., "label": ...})  # of that shape, already normalised

    Args:
        spatial: rotations, scaling, deformation and flips of image and label; None: the patch as it is.
        intensity: MONAI dictionary transforms of the patch's image; None: as it is.
        device: `cpu` augments in the loading processes, `gpu` the batch on the training device, sample by sample and
            with the same draws.

    Raises:
        InputError: if `device` is neither, or a transform is none.
    """

    def __init__(
        self, spatial: RandSpatiald | None = None, intensity: Compose | None = None, device: Device = "cpu"
    ) -> None:
        if device not in get_args(Device):
            raise InputError(f"augment.device={device} is unknown: write cpu or gpu.")
        if spatial is not None and not isinstance(spatial, RandSpatiald):
            raise InputError(f"augment.spatial={spatial} is no kidney_lab.transforms.RandSpatiald: name one, or null.")
        if intensity is not None and not (isinstance(intensity, Randomizable) and isinstance(intensity, Transform)):
            raise InputError(
                f"augment.intensity={intensity} is no random transform: name a monai.transforms.Compose of them, or "
                "null."
            )
        self.spatial = spatial
        self.intensity = intensity
        self.device = device
        self._roi_size: tuple[int, ...] | None = None

    def draw(self, roi_size: Sequence[int], seed: int) -> tuple[int, ...]:
        """Seeds everything random and draws the spatial parameters of the next sample.

        Args:
            roi_size: of the patch, `(D, H, W)`, or `(H, W)` of a slice.
            seed: of the sample, not negative.

        Returns:
            Shape of the box that the next call takes, at least `roi_size`: centred on the patch, that is beginning
            `(box - roi_size) // 2` voxels before it; the difference is even along every axis.
        """
        self._roi_size = tuple(roi_size)
        spatial_seed, intensity_seed = (int(s) for s in np.random.SeedSequence(seed).generate_state(2))
        if self.intensity is not None:
            self.intensity.set_random_state(seed=intensity_seed)
        if self.spatial is None:
            return self._roi_size
        self.spatial.set_random_state(seed=spatial_seed)
        self.spatial.randomize(self._roi_size)
        return self.spatial.source_shape()

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        """Augments the sample that `draw` was called for.

        Args:
            sample: `image` float32 `(C, *box)` and `label` uint8 `(1, *box)`; other keys pass through.

        Returns:
            The sample with image and label of `roi_size`, on the device that they came on.

        Raises:
            RuntimeError: if nothing was drawn before.
        """
        if self._roi_size is None:
            raise RuntimeError("Augment.draw must be called before the sample is augmented")
        if self.spatial is not None:
            sample = self.spatial(sample, randomize=False)
        if self.intensity is not None:
            sample = self.intensity(sample)
        return {key: _plain(value) for key, value in sample.items()}


def _plain(value: Any) -> Any:
    """Strips MONAI's metadata, which neither collating nor the training step needs."""
    return value.as_tensor() if isinstance(value, MetaTensor) else value
