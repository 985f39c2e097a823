from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from pytorch_lightning.loggers import WandbLogger

from kidney_lab.methods.confidence import LogConfidence, draw_confidence
from kidney_lab.methods.output import RegionOutput
from tests.methods.test_adversarial import PLAIN, batch, module


class FakeWandb(WandbLogger):
    def __init__(self) -> None:
        self.logged = []

    def log_image(self, key, images, step=None, **kwargs) -> None:
        self.logged.append((key, images, step))


def log(learned, given, folder=None, *, logger=None, index=0, loader=0, first=True, n_samples=2) -> None:
    trainer = SimpleNamespace(logger=logger, global_step=50, is_global_zero=first)
    dirpath = None if folder is None else str(folder)
    LogConfidence(n_samples, dirpath).on_validation_batch_end(trainer, learned, None, given, index, loader)


def shown(figure) -> list[np.ndarray]:
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]


def test_every_sample_is_a_row_of_what_was_given():
    planes = [np.random.default_rng(k).random((2, 5, 4)) for k in range(4)]

    figure = draw_confidence(*planes)

    expected = [plane[row] for row in range(2) for plane in planes]
    assert all(np.array_equal(*pair) for pair in zip(shown(figure), expected, strict=True))
    titles = [axes.get_title() for axes in figure.axes]
    assert [title for title in titles if title] == ["Image", "Reference", "Prediction", "Confidence M"]
    assert figure.axes[3].images[0].get_clim() == (0, 1)


def test_the_samples_with_most_of_the_region_are_judged_by_the_finest_discriminator():
    learned, logger, given = module().eval(), FakeWandb(), batch(0, 1, 2)
    given["label"][0] = 0
    given["label"][2, 0, 4:12, 4:12] = 2

    log(learned, given, logger=logger)

    ((key, (figure,), step),) = logger.logged
    assert (key, step) == ("confidence", 50)
    with torch.no_grad():
        probs = learned.network(given["image"]).sigmoid()
        confidence = learned.discriminators.networks[0](torch.cat([given["image"], probs], dim=1)).sigmoid()
    for row, number in enumerate((2, 1)):
        image, reference, prediction, judged = shown(figure)[4 * row : 4 * row + 4]
        np.testing.assert_array_equal(image, given["image"][number, 0])
        np.testing.assert_array_equal(reference, given["label"][number, 0] == 2)
        np.testing.assert_allclose(prediction, probs[number, 0], atol=1e-6)
        np.testing.assert_allclose(judged, confidence[number, 0], atol=1e-5)


def test_of_volumes_the_slice_with_most_of_the_region_is_shown():
    learned, logger = module(), FakeWandb()
    image = torch.arange(2 * 3 * 4 * 4).reshape(2, 1, 3, 4, 4).float()
    label = torch.zeros(2, 1, 3, 4, 4, dtype=torch.uint8)
    label[0, 0, 2, 1], label[1, 0, 1, :2] = 2, 2
    learned.confidence = lambda given: (given / 96, given / 96)

    log(learned, {"image": image, "label": label}, logger=logger)

    ((_, (figure,), _),) = logger.logged
    np.testing.assert_array_equal(shown(figure)[0], image[1, 0, 1])
    np.testing.assert_array_equal(shown(figure)[4], image[0, 0, 2])
    np.testing.assert_allclose(shown(figure)[7], image[0, 0, 2] / 96)


def test_nested_regions_are_shown_as_grey_levels():
    learned, logger, given = (
        module(output=RegionOutput(["kidney", "tumor"], ["kidney_and_mass", "tumor"])),
        FakeWandb(),
        batch(0),
    )
    given["label"][:] = 0
    given["label"][0, 0, :4], given["label"][0, 0, :2] = 1, 2

    log(learned.eval(), given, logger=logger)

    ((_, (figure,), _),) = logger.logged
    reference = shown(figure)[1]
    assert [reference[row, 0] for row in (0, 2, 4)] == [1.0, 0.5, 0.0]


def test_the_picture_of_the_last_validation_lies_in_the_stage_s_folder(tmp_path):
    log(module().eval(), batch(0), tmp_path)
    log(module().eval(), batch(0, 1), tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["confidence.png"]
    height, width, _ = imread(tmp_path / "confidence.png").shape
    assert (height, width) == (470, 920)  # two rows


@pytest.mark.parametrize("passed_over", [{"index": 1}, {"loader": 1}, {"first": False}])
def test_later_batches_whole_cases_and_other_ranks_are_passed_over(passed_over, tmp_path):
    log(module().eval(), batch(0), tmp_path, **passed_over)

    assert list(tmp_path.iterdir()) == []


def test_a_training_without_discriminators_has_no_picture(tmp_path):
    log(module(**PLAIN).eval(), batch(0), tmp_path)
    log(torch.nn.Identity(), batch(0), tmp_path)

    assert list(tmp_path.iterdir()) == []
