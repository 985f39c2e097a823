import numpy as np
import pytest
import torch
from torch import nn

from kidney_lab.inference.stage import predict_stage
from kidney_lab.methods.prediction import Prediction, whole

CPU = torch.device("cpu")
SHAPE = (3, 4, 5)


class Spy:
    """Stands for a stage: halves Hounsfield units, and keeps what it is asked to predict."""

    @staticmethod
    def intensity(image: torch.Tensor) -> torch.Tensor:
        return image / 2

    def predict(self, image, prior):
        self.image, self.prior = image, prior
        self.product = (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
        return Prediction(image, whole(SHAPE), SHAPE)


def test_a_stage_gets_the_normalised_image_and_what_the_stage_before_predicted():
    spy, image = Spy(), np.random.default_rng(0).integers(-1000, 1000, SHAPE).astype(np.int16)
    prior = np.random.default_rng(1).integers(0, 3, SHAPE).astype(np.uint8)

    predicted = predict_stage(spy, image, prior, device=CPU, precision="32-true")

    assert spy.image.dtype == torch.float32
    np.testing.assert_array_equal(spy.image, image[None] / 2)
    assert spy.prior.dtype == torch.uint8
    np.testing.assert_array_equal(spy.prior, prior[None])
    assert predicted.shape == SHAPE


def test_the_first_stage_gets_no_prior():
    spy = Spy()

    predict_stage(spy, np.zeros(SHAPE, np.int16), None, device=CPU, precision="32-true")

    assert spy.prior is None


@pytest.mark.parametrize(("precision", "dtype"), [("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)])
def test_it_predicts_in_the_precision_of_the_training(precision, dtype):
    spy = Spy()

    predict_stage(spy, np.zeros(SHAPE, np.int16), None, device=CPU, precision=precision)

    assert spy.product == dtype


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_it_predicts_on_the_device_that_is_named():
    spy = Spy()
    spy.network = nn.Identity()

    predict_stage(
        spy, np.zeros(SHAPE, np.int16), np.zeros(SHAPE, np.uint8), device=torch.device("cuda"), precision="32-true"
    )

    assert spy.image.is_cuda
    assert spy.prior.is_cuda
