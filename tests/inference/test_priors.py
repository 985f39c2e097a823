from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, distributed, nn

from kidney_lab.data.priors import Priors
from kidney_lab.data.views.window import whole
from kidney_lab.inference.postprocessing import keep_two_kidneys
from kidney_lab.inference.priors import predict_priors, prior_labels
from kidney_lab.inference.restore import resample_labels
from kidney_lab.methods.inference_settings import DEFAULTS, InferenceSettings
from kidney_lab.methods.output import RegionOutput, build_output
from kidney_lab.methods.prediction import Prediction

CPU = torch.device("cpu")
COARSE, FINE = (6, 8, 8), (12, 16, 24)
OUTPUT = build_output("labels", labels=["kidney", "tumor"], regions=["kidney_and_mass", "tumor"])
CASES = [f"case_{k:05d}" for k in range(5)]


def one_hot(labels: np.ndarray) -> Tensor:
    return torch.stack([torch.from_numpy(labels == value) for value in range(3)]).float()


def coarse_labels() -> np.ndarray:
    """Two kidneys, one with a tumor, and a speck that is neither."""
    labels = np.zeros(COARSE, np.uint8)
    labels[1:5, 2:5, 0:3] = 1
    labels[2:4, 2:4, 1] = 2
    labels[1:5, 2:5, 5:8] = 1
    labels[0, 7, 0] = 1
    return labels


def test_what_is_handed_on_lies_on_the_later_grid_without_what_is_no_kidney():
    prediction = Prediction.held(one_hot(coarse_labels()), whole(COARSE), COARSE)

    labels = prior_labels(prediction, FINE, OUTPUT)

    every = resample_labels(prediction, FINE, OUTPUT.decide)
    assert (labels.shape, labels.dtype) == (FINE, np.uint8)
    np.testing.assert_array_equal(labels, keep_two_kidneys(every))
    assert every[0, 15, 0] == 1
    assert labels[0, 15, 0] == 0
    assert {1, 2} <= set(np.unique(labels))
    assert labels[4, 6, 1] == labels[4, 6, 22] == 1


def test_a_stage_that_marks_masses_alone_hands_on_every_one_of_them():
    output = RegionOutput(labels=["kidney", "tumor", "cyst"], regions=["mass"])
    masses = np.zeros(COARSE, np.uint8)
    masses[1:5, 2:5, 0:3] = masses[1:5, 2:5, 5:8] = masses[0, 7, 0] = masses[5, 7, 7] = 1
    prediction = Prediction.held(torch.from_numpy(masses)[None].float(), whole(COARSE), COARSE)

    labels = prior_labels(prediction, COARSE, output)

    np.testing.assert_array_equal(labels, 2 * masses)


def test_nothing_found_is_nothing_handed_on():
    prediction = Prediction.held(one_hot(np.zeros(COARSE, np.uint8)), whole(COARSE), COARSE)

    assert not prior_labels(prediction, FINE, OUTPUT).any()


class Stage:
    """Stands for a trained stage: calls kidney what is bright, and keeps what it was asked."""

    def __init__(self) -> None:
        self.module = nn.Conv3d(1, 1, 1)
        self.module.output = OUTPUT
        self.module.train()
        self.asked: list[tuple[int, Tensor | None, bool]] = []
        self.settings: list[InferenceSettings] = []

    @staticmethod
    def intensity(image: Tensor) -> Tensor:
        return image

    def predict(self, image: Tensor, prior: Tensor | None, *, settings, **others) -> Prediction:
        self.asked.append((int(image.max()), prior, self.module.training))
        self.settings.append(settings)
        kidney = (image[0] > 0).float()
        return Prediction.held(torch.stack([1 - kidney, kidney, kidney * 0]), whole(COARSE), COARSE)


@pytest.fixture
def stores():
    """Cases in memory: number k has a kidney of k + 1 HU in its first k + 1 slices."""

    def image(number):
        volume = np.zeros(COARSE, np.int16)
        volume[: number + 1] = number + 1
        return volume

    store = {case: SimpleNamespace(image=image(number)) for number, case in enumerate(CASES)}
    return {"store": store, "onto": {case: SimpleNamespace(shape=FINE) for case in CASES}}


def predict(stage, cases, priors, stores, *, source=None, settings=DEFAULTS) -> None:
    how = {"device": CPU, "precision": "32-true", "settings": settings, "title": "Predicting"}
    predict_priors(stage, cases, priors, source=source, **stores, **how)


def test_every_case_is_predicted_once_in_evaluation_mode(tmp_path, stores):
    stage, priors = Stage(), Priors(tmp_path)
    priors.write(CASES[1], np.zeros(FINE, np.uint8))

    predict(stage, CASES, priors, stores)

    assert stage.asked == [(1, None, False), (3, None, False), (4, None, False), (5, None, False)]
    assert not priors.missing(CASES)
    assert not priors[CASES[1]].label[...].any()  # what is there is kept
    for number in (0, 2, 3, 4):
        expected = np.zeros(FINE, np.uint8)
        expected[: 2 * number + 2] = 1
        np.testing.assert_array_equal(priors[CASES[number]].label[...], expected)


def test_a_stage_that_takes_from_another_gets_what_that_predicted(tmp_path, stores):
    stage, source = Stage(), Priors(tmp_path / "source")
    for number, case in enumerate(CASES):
        source.write(case, np.full(COARSE, number, np.uint8))

    predict(stage, CASES[:3], Priors(tmp_path / "priors"), stores, source=source)

    assert [prior.unique().tolist() for _, prior, _ in stage.asked] == [[0], [1], [2]]


def test_every_case_is_predicted_by_the_settings_of_inference(tmp_path, stores):
    stage, mirror = Stage(), InferenceSettings(mirror_axes=[1, 2])

    predict(stage, CASES[:2], Priors(tmp_path), stores, settings=mirror)

    assert stage.settings == [mirror, mirror]


def test_where_nothing_is_missing_the_network_is_not_touched(tmp_path, stores):
    priors = Priors(tmp_path)
    for case in CASES:
        priors.write(case, np.zeros(FINE, np.uint8))

    predict(None, CASES, priors, stores)


@pytest.mark.parametrize(("rank", "numbers"), [(0, [0, 2, 4]), (1, [1, 3])])
def test_each_process_predicts_its_share_of_what_is_missing_and_waits_for_the_others(
    monkeypatch, tmp_path, stores, rank, numbers
):
    barriers = []
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_rank", lambda: rank)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(distributed, "barrier", lambda: barriers.append(len(list(tmp_path.iterdir()))))
    stage = Stage()

    predict(stage, CASES, Priors(tmp_path), stores)

    assert [brightest - 1 for brightest, _, _ in stage.asked] == numbers
    assert barriers == [0, len(numbers)]
