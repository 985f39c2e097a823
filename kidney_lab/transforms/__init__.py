"""Transforms of samples that MONAI lacks; everything else is MONAI's own, composed in `conf/augment/`."""

from kidney_lab.transforms.augment import Augment
from kidney_lab.transforms.corrupt_prior import RandCorruptPriord
from kidney_lab.transforms.salt_and_pepper import RandSaltAndPepperd
from kidney_lab.transforms.spatial import RandSpatiald

__all__ = ["Augment", "RandCorruptPriord", "RandSaltAndPepperd", "RandSpatiald"]
