"""Salt-and-pepper noise: single voxels set to white or black."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import convert_to_tensor

from kidney_lab.transforms.arguments import share


class RandSaltAndPepperd(RandomizableTransform, MapTransform):
    """Sets random voxels to the largest or the smallest value of the sample's image.

    `amount` and `salt_vs_pepper` are those of scikit-image's `random_noise`. Voxels are drawn with replacement, so that
    a voxel may be drawn twice; every channel's voxels are drawn separately.

    Args:
        keys: images to change, `(C, *spatial)`.
        prob: of a sample to be changed, 0 to 1.
        amount: share of the voxels that are set, 0 to 1.
        salt_vs_pepper: share of these that become white, 0 to 1.
        salt: white; None: the largest value of the image.
        pepper: black; None: the smallest value of the image.
        allow_missing_keys: skip keys that a sample lacks.

    Raises:
        InputError: if a share lies outside 0 to 1.
    """

    def __init__(
        self,
        keys: str | Sequence[str],
        prob: float = 0.1,
        amount: float = 0.01,
        *,
        salt_vs_pepper: float = 0.5,
        salt: float | None = None,
        pepper: float | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, share("prob", prob))
        self.amount = share("amount", amount)
        self.salt_vs_pepper = share("salt_vs_pepper", salt_vs_pepper)
        self.salt = salt
        self.pepper = pepper

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a copy of the sample whose images are noisy, with probability `prob`."""
        sample = dict(data)
        self.randomize(None)
        if self._do_transform:
            for key in self.key_iterator(sample):
                sample[key] = self._noisy(convert_to_tensor(sample[key]))
        return sample

    def _noisy(self, image: torch.Tensor) -> torch.Tensor:
        size = image.numel()
        drawn = self.R.randint(size, size=self.R.binomial(size, self.amount))
        n_salt = self.R.binomial(len(drawn), self.salt_vs_pepper)
        places = torch.from_numpy(drawn).to(image.device)
        noisy = image.clone(memory_format=torch.contiguous_format)
        voxels = noisy.view(-1)
        voxels[places[:n_salt]] = image.amax() if self.salt is None else self.salt
        voxels[places[n_salt:]] = image.amin() if self.pepper is None else self.pepper
        return noisy
