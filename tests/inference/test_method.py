from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from monai.inferers import SlidingWindowInferer
from monai.losses import DiceCELoss
from monai.transforms import ScaleIntensityRange
from scipy.spatial.transform import Rotation
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import ConstantLR

from kidney_lab.data.nifti import read_grid, write_volume
from kidney_lab.data.prepare import GridRecipe
from kidney_lab.data.views import PatchView, RoiView
from kidney_lab.geometry import Grid, Volume, grid_from_spacing, reorient
from kidney_lab.inference import method as inference
from kidney_lab.inference.method import TrainedMethod
from kidney_lab.inference.postprocessing import PostProcessing
from kidney_lab.methods.earlier import Earlier
from kidney_lab.methods.output import build_output
from kidney_lab.methods.stage import Stage
from kidney_lab.methods.supervised import SupervisedSegmentation
from kidney_lab.transforms import Augment

CPU = torch.device("cpu")
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


ORIENTATIONS = ["IPL", "RAS", "LPS", "LAS", "SAR", "PIR", "ASL", "RIP", "LIA", "PRS"]


def test_an_array_is_segmented_on_its_own_grid():
    labels = method().segment(scan(), SPACING)

    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, wanted())


@pytest.mark.parametrize("degrees", [(0, 0, 0), (9, -14, 20)], ids=["straight", "oblique"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_however_a_scan_is_stored_the_same_places_are_segmented(orientation, degrees):
    stored = reorient(tilted(degrees), tuple(orientation))

    segmented = method().segment_volume(stored)

    assert segmented.grid is stored.grid
    assert segmented.array.flags.c_contiguous
    np.testing.assert_array_equal(segmented.array, (stored.array > 100) * 1 + (stored.array > 200))
    np.testing.assert_array_equal(reorient(segmented).array, wanted())


@pytest.mark.parametrize("orientation", ORIENTATIONS[:8])
def test_resampling_does_not_depend_on_how_the_scan_is_stored_either(orientation):
    coarse = method((4.0, 1.7, 1.7))
    straight = coarse.segment_volume(tilted((0, 0, 0)))

    segmented = coarse.segment_volume(reorient(tilted((0, 0, 0)), tuple(orientation)))

    np.testing.assert_array_equal(reorient(segmented).array, straight.array)
    inside, truth = straight.array > 0, wanted() > 0
    assert 2 * (inside & truth).sum() / (inside.sum() + truth.sum()) > 0.85


@pytest.mark.parametrize("orientation", ["IPL", "RAS", "PIR"])
def test_a_file_is_segmented_along_its_own_axes(tmp_path, orientation):
    stored = reorient(tilted((4, 7, -11)), tuple(orientation))
    write_volume(tmp_path / "scan.nii.gz", stored)

    labels = method().segment_file(tmp_path / "scan.nii.gz")

    assert labels.shape == read_grid(tmp_path / "scan.nii.gz").shape
    np.testing.assert_array_equal(labels, (stored.array > 100) * 1 + (stored.array > 200))
    np.testing.assert_array_equal(labels, method().segment_file(str(tmp_path / "scan.nii.gz")))


def test_a_scan_in_floating_point_gives_what_its_rounded_values_give():
    noise = np.random.default_rng(0).uniform(-0.49, 0.49, SHAPE)

    np.testing.assert_array_equal(method().segment(scan() + noise, SPACING), method().segment(scan(), SPACING))


def test_a_scan_smaller_than_a_window_is_segmented():
    labels = method().segment(scan()[2:6, 14:22, 4:12], SPACING)

    np.testing.assert_array_equal(labels, wanted()[2:6, 14:22, 4:12])


def test_the_last_stage_decides():
    class Nothing(Threshold):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.cat([image, image], dim=1) * 0 - 10

    stages = {"first": stage(), "last": stage(network=Nothing())}

    assert not TrainedMethod(stages, device=CPU, precision="32-true").segment(scan(), SPACING).any()


def test_networks_predict_in_evaluation_mode_and_in_the_precision_of_the_training():
    seen = {}

    class Spy(Threshold):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            seen["training"] = self.training
            seen["product"] = (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
            return super().forward(image)

    spied = stage(network=Spy())
    spied.module.train()
    TrainedMethod({"only": spied}, device=CPU, precision="bf16-mixed").segment(scan(), SPACING)

    assert seen == {"training": False, "product": torch.bfloat16}


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


class TestCascade:
    def test_a_later_stage_sees_what_the_earlier_one_says(self):
        np.testing.assert_array_equal(trained(cascade()).segment(scan(), SPACING), wanted())

        class NoTumor(Threshold):
            def forward(self, image: torch.Tensor) -> torch.Tensor:
                return super().forward(image) * torch.tensor([1.0, 0.0]).view(1, 2, 1, 1, 1)

        without = trained(cascade(network=None) | {"coarse": stage(network=NoTumor())}).segment(scan(), SPACING)
        np.testing.assert_array_equal(without, (wanted() > 0) * np.uint8(1))

    @pytest.mark.parametrize("orientation", ORIENTATIONS[:6])
    def test_grids_of_their_own_fit_together_however_the_scan_is_stored(self, orientation):
        method = trained(cascade((3.0, 1.9, 1.7)))

        segmented = method.segment_volume(reorient(tilted((4, 7, -11)), tuple(orientation)))

        straight = method.segment_volume(tilted((4, 7, -11)))
        np.testing.assert_array_equal(reorient(segmented).array, straight.array)
        inside = straight.array > 0
        assert 2 * (inside & (wanted() > 0)).sum() / (inside.sum() + (wanted() > 0).sum()) > 0.85

    def test_outside_its_box_a_stage_says_nothing(self):
        class Everything(Threshold):
            def forward(self, image: torch.Tensor) -> torch.Tensor:
                return torch.ones_like(image[:, :2]) * torch.tensor([1.0, -1.0]).view(1, 2, 1, 1, 1)

        labels = trained(cascade(size=(12, 14, 14), network=Everything()), postprocessing=PostProcessing("all", False))

        found = np.argwhere(labels.segment(scan(), SPACING))
        assert (np.ptp(found, axis=0) + 1 == (12, 14, 14)).all()
        assert (found.min(axis=0) <= np.argwhere(wanted()).min(axis=0)).all()
        assert (found.max(axis=0) >= np.argwhere(wanted()).max(axis=0)).all()

    def test_stages_on_one_grid_share_the_prepared_scan(self, monkeypatch):
        made = []
        prepare = inference.prepare_image
        monkeypatch.setattr(inference, "prepare_image", lambda *given: made.append(given[1]) or prepare(*given))

        trained(cascade()).segment(scan(), SPACING)
        assert len(made) == 1
        trained(cascade((4.0, 2.0, 2.0))).segment(scan(), SPACING)
        assert len(made) == 3

    def test_an_earlier_stage_that_finds_nothing_leaves_the_whole_scan_to_the_later_one(self, caplog):
        class Nothing(Threshold):
            def forward(self, image: torch.Tensor) -> torch.Tensor:
                return torch.cat([image, image], dim=1) * 0 - 10

        class Alone(Threshold):
            def forward(self, image: torch.Tensor) -> torch.Tensor:
                return super().forward(image[:, :1])

        stages = cascade(size=(4, 4, 4), network=Alone()) | {"coarse": stage(network=Nothing())}

        np.testing.assert_array_equal(trained(stages).segment(scan(), SPACING), wanted())
        assert "the scan: the stage coarse found nothing" in caplog.text


def test_what_each_stage_said_and_what_post_processing_changed_are_told():
    image = scan()
    image[1:3, 22:26, 18:22] = 250  # a tumor far from the kidney, which is dropped

    told = trained(cascade()).segment_in_stages(Volume(image, grid_from_spacing(SHAPE, SPACING)))

    assert told.unprocessed.array[1, 23, 19] == 0  # too small to be handed on as a second kidney
    alone = method().segment_in_stages(Volume(image, grid_from_spacing(SHAPE, SPACING)))
    assert (alone.unprocessed.array[1, 23, 19], alone.labels.array[1, 23, 19]) == (2, 0)
    np.testing.assert_array_equal(alone.labels.array, wanted())
    assert dict(alone.earlier) == {}
    assert list(told.earlier) == ["coarse"]
    np.testing.assert_array_equal(told.earlier["coarse"]().array, wanted())
    assert told.earlier["coarse"]().grid is told.labels.grid
