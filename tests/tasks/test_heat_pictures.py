from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from monai.inferers import SimpleInferer
from monai.transforms import ScaleIntensityRange
from pytorch_lightning.loggers import WandbLogger

from kidney_lab.data.prepare import GridRecipe
from kidney_lab.data.views import SliceView
from kidney_lab.geometry import Volume, grid_from_spacing
from kidney_lab.inference.method import TrainedMethod
from kidney_lab.methods.stage import Stage
from kidney_lab.tasks.heat_pictures import LogHeatmaps, heat_slices, save_case_heatmaps
from kidney_lab.transforms import Augment
from tests.methods.test_detection import module as detection
from tests.methods.test_softmax_refit import module as refit
from tests.networks.test_mask_rcnn import squares

SPACING = (3.0, 1.0, 1.0)


def stage(module) -> Stage:
    return Stage(
        module=module.eval(),
        view=SliceView(size=(64, 64), samples_per_epoch=2, val_samples=2),
        augment=Augment(),
        intensity=ScaleIntensityRange(a_min=0, a_max=1000, b_min=0.0, b_max=1.0, clip=True),
        inferer=SimpleInferer(),
        grid=GridRecipe(crop_to_body=False),
        batch_size=1,
    )


@pytest.fixture
def case() -> tuple[np.ndarray, np.ndarray]:
    """Four slices, HU, with a square kidney and tumor in each; the third has the largest tumor."""
    image, label = squares(n=4)
    label[2, 0, 5:45, 5:45] = 2
    return (1000 * image[:, 0].numpy()).astype(np.int16), label[:, 0].numpy()


def test_each_region_is_shown_where_the_reference_has_most_of_it(case):
    image, reference = case
    reference[0, 1:60, 1:60] = 1
    made = stage(refit())

    kidney, tumor = heat_slices(made.module, image, reference)

    for shown, region, index, wanted in ((kidney, "kidney_and_mass", 0, [1, 2, 3]), (tumor, "tumor", 2, [2])):
        maps = made.module.explain(torch.from_numpy(image[index] / 1000).float().clamp(0, 1)[None, None])[0]
        channel = 0 if region == "kidney_and_mass" else 1
        assert shown.region == region
        np.testing.assert_array_equal(shown.image, image[index])
        np.testing.assert_array_equal(shown.reference, np.isin(reference[index], wanted))
        for plane, expected in zip((shown.heat, shown.before, shown.after), maps[channel::2], strict=True):
            np.testing.assert_allclose(plane, expected, atol=1e-5)
        np.testing.assert_array_equal(shown.prediction, shown.after > 0.5)


def test_a_region_that_the_reference_lacks_is_not_shown(case):
    image, reference = case

    assert [one.region for one in heat_slices(stage(refit()).module, image, np.minimum(reference, 1))] == [
        "kidney_and_mass"
    ]


def method(**stages) -> TrainedMethod:
    return TrainedMethod(stages, device=torch.device("cpu"), precision="32-true")


def test_a_case_of_a_method_that_refits_gets_a_picture(case, tmp_path):
    image, reference = case
    volume = Volume(image, grid_from_spacing(image.shape, SPACING))

    save_case_heatmaps(tmp_path, method(detector=stage(detection()), refit=stage(refit())), "case_1", volume, reference)

    picture = imread(tmp_path / "heatmaps" / "case_1.png")
    assert picture.shape[1] == 1200
    assert np.ptp(picture[..., :3]) == 1


def test_a_case_of_another_method_gets_none(case, tmp_path):
    image, reference = case
    volume = Volume(image, grid_from_spacing(image.shape, SPACING))

    save_case_heatmaps(tmp_path, method(detector=stage(detection())), "case_1", volume, reference)

    assert not list(tmp_path.iterdir())


class FakeWandb(WandbLogger):
    def __init__(self) -> None:
        self.logged = []

    def log_image(self, key, images, step=None, **kwargs) -> None:
        self.logged.append((key, images, step))


def log(module, case, *, logger=None, index=0, outputs=True) -> None:
    image, reference = (torch.from_numpy(array)[None] for array in case)
    batch = {"image": image, "label": reference, "case": "case_1"}
    trainer = SimpleNamespace(logger=logger, global_step=50)
    shown = reference[0] if outputs else None  # a label map of a whole case, nothing of slices
    LogHeatmaps(1, SPACING).on_validation_batch_end(trainer, module, shown, batch, index, 1)


def test_wandb_shows_the_first_validation_cases(case):
    logger = FakeWandb()
    module = stage(refit()).module

    log(module, case, logger=logger)
    log(module, case, logger=logger, index=1)
    log(module, case, logger=logger, outputs=False)
    log(stage(detection()).module, case, logger=logger)
    log(module, case)

    ((key, (figure,), step),) = logger.logged
    assert (key, step) == ("heatmaps/case_1", 50)
    assert len(figure.axes) >= 8
