"""Methods whose networks are thresholds, on a scan whose label map is known."""

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from monai.inferers import SlidingWindowInferer
from monai.losses import DiceCELoss
from monai.transforms import ScaleIntensityRange
from scipy.spatial.transform import Rotation
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import ConstantLR

from kidney_lab.data.prepare import GridRecipe
from kidney_lab.data.views import PatchView, RoiView
from kidney_lab.geometry import Grid, Volume, grid_from_spacing
from kidney_lab.inference.method import TrainedMethod
from kidney_lab.methods.earlier import Earlier
from kidney_lab.methods.output import build_output
from kidney_lab.methods.stage import Stage
from kidney_lab.methods.supervised import SupervisedSegmentation
from kidney_lab.transforms import Augment

CPU = torch.device("cpu")
EPOCH = {"samples_per_epoch": 2, "val_samples": 2}
SHAPE, SPACING = (14, 30, 26), (2.5, 1.1, 1.1)


class Threshold(nn.Module):
    """A network that calls kidney what is above 100 HU, and tumor what is above 200 HU."""

    def __init__(self) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(1000.0))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.cat([image - 0.1, image - 0.2], dim=1) * self.sharpness


def stage(spacing=None, *, network=None) -> Stage:
    module = SupervisedSegmentation(
        network=network or Threshold(),
        loss=DiceCELoss(sigmoid=True),
        optimizer=partial(SGD, lr=0.1),
        scheduler=partial(ConstantLR, factor=1.0),
        output=build_output("regions", labels=["kidney", "tumor"], regions=["kidney_and_mass", "tumor"]),
    )
    return Stage(
        module=module,
        view=PatchView(roi_size=(8, 16, 16), samples_per_epoch=2, val_samples=2, foreground_fraction=0.5),
        augment=Augment(),
        intensity=ScaleIntensityRange(a_min=0, a_max=1000, b_min=0.0, b_max=1.0),
        inferer=SlidingWindowInferer(roi_size=(8, 16, 16), overlap=0.25),
        grid=GridRecipe(spacing=spacing, order=1),
        batch_size=1,
    )


def method(spacing=None, **settings) -> TrainedMethod:
    return TrainedMethod({"only": stage(spacing, **settings)}, device=CPU, precision="32-true")


def scan() -> np.ndarray:
    """A body with a kidney on one side alone and a tumor at its upper end, so that every flip shows."""
    d, h, w = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    image = np.full(SHAPE, -1000, np.int16)
    image[1:13, 3:27, 3:23] = 40
    image[((d - 6) * 2.5) ** 2 + ((h - 18) * 1.1) ** 2 + ((w - 8) * 1.1) ** 2 < 49] = 150
    image[2:5, 16:20, 6:10] = 250
    return image


def wanted() -> np.ndarray:
    return (scan() > 100).astype(np.uint8) + (scan() > 200)


def tilted(degrees: tuple[float, float, float]) -> Volume:
    grid = grid_from_spacing(SHAPE, SPACING)
    affine = grid.affine.copy()
    affine[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() @ affine[:3, :3]
    affine[:3, 3] = (20.5, -31.0, 417.0)
    return Volume(scan(), Grid(SHAPE, affine))


class Agreement(Threshold):
    """Calls only that what the earlier stage has called so as well."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        kidney = image[:, 1:].sum(dim=1, keepdim=True)
        return super().forward(image[:, :1]) - 1e6 * (1 - torch.cat([kidney, image[:, 2:]], dim=1))


def cascade(spacing=None, *, size=(14, 30, 26), network=None, **settings) -> dict[str, Stage]:
    """A stage on a grid of its own, and one in boxes about what it finds, which must agree with it."""
    view = RoiView(size=size, samples_per_epoch=2, val_samples=2)
    fine = replace(stage(network=network or Agreement()), view=view, earlier=Earlier("coarse", ["kidney", "tumor"]))
    return {"coarse": stage(spacing, **settings), "fine": fine}


def trained(stages, **settings) -> TrainedMethod:
    return TrainedMethod(stages, device=CPU, precision="32-true", **settings)
