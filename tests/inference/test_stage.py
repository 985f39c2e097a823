import numpy as np
import pytest
import torch

from kidney_lab.data.views.window import whole
from kidney_lab.inference.stage import predict_stage
from kidney_lab.methods.inference_settings import DEFAULTS, InferenceSettings
from kidney_lab.methods.prediction import Prediction
from kidney_lab.progress import listening, tell

CPU = torch.device("cpu")
SHAPE = (3, 4, 5)


class Spy:
    """Stands for a stage: keeps what it is asked to predict, and who listens to what, when it computes."""

    def predict(self, image, prior, *, settings, context):
        self.image, self.prior, self.settings = image, prior, settings
        with context():
            self.product = (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
            tell(1, 2)
        self.afterwards = (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
        return Prediction.held(image, whole(SHAPE), SHAPE)


def test_a_stage_gets_hounsfield_units_and_what_the_stage_before_predicted():
    spy, image = Spy(), np.random.default_rng(0).integers(-1000, 1000, SHAPE).astype(np.int16)
    prior = np.random.default_rng(1).integers(0, 3, SHAPE).astype(np.uint8)

    predicted = predict_stage(spy, image, prior, device=CPU, precision="32-true")

    assert spy.image.dtype == torch.int16
    np.testing.assert_array_equal(spy.image, image[None])
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
    assert spy.afterwards == torch.float32  # whoever goes through the prediction computes as before


def test_it_is_told_how_to_look_and_tells_its_name_while_it_computes():
    spy, told, mirror = Spy(), [], InferenceSettings(mirror_axes=[2])

    with listening(lambda *heard: told.append(heard)):
        for settings in ({}, {"settings": mirror, "name": "fine"}):
            predict_stage(spy, np.zeros(SHAPE, np.int16), None, device=CPU, precision="32-true", **settings)
            assert spy.settings is settings.get("settings", DEFAULTS)

    assert told == [("", 1, 2), ("fine", 1, 2)]
