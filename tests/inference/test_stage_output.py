from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kidney_lab.geometry import grid_from_spacing
from kidney_lab.inference import restore
from kidney_lab.inference.priors import prior_labels
from kidney_lab.inference.restore import resample_labels
from kidney_lab.inference.slabs import label_map
from kidney_lab.inference.stage_output import StageOutput
from kidney_lab.methods.output import RegionOutput
from kidney_lab.methods.prediction import Prediction

OUTPUT = RegionOutput([], ["kidney_and_mass", "tumor"])
CROP = (slice(3, 23), slice(2, 7), slice(1, 7))


@pytest.fixture
def output():
    """What a stage says in a box of its grid `(10, 5, 6)`, which covers a crop of a scan; counts its passes."""
    return made()


def made(**settings):
    box, asked = (slice(4, 6), slice(0, 3), slice(1, 6)), []
    values = torch.rand((2, 2, 3, 5), generator=torch.Generator().manual_seed(0))
    prepared = SimpleNamespace(source=grid_from_spacing((30, 9, 8), (1.0, 1.0, 1.0)), crop=CROP)

    def predict(image):
        def slabs():
            asked.append(image)
            yield values[:, :1]
            yield values[:, 1:]

        return Prediction(slabs, box, (10, 5, 6), 2, values.device)

    stage = SimpleNamespace(module=SimpleNamespace(output=OUTPUT))
    return StageOutput(stage, lambda: prepared, predict, **settings), asked


@pytest.mark.parametrize(("keep_bytes", "passes"), [(0, 2), (4 * 60 - 1, 2), (4 * 60, 1)])  # 2 x 2 x 3 x 5 floats
def test_nothing_is_predicted_before_it_is_asked_for_and_then_once_or_whenever_it_is(monkeypatch, keep_bytes, passes):
    monkeypatch.setattr(restore, "SLAB", 1)  # the last one does not reach back to the first
    said, asked = made(keep_bytes=keep_bytes)
    assert (said.output, said.shape, said.box[0], asked) == (OUTPUT, (30, 9, 8), slice(10, 16), [])

    first, second = label_map(said), label_map(said)

    assert len(asked) == passes
    np.testing.assert_array_equal(first, second)


def test_slabs_in_rising_order_take_one_pass(output):
    said, asked = output

    for k in range(said.box[0].start, said.box[0].stop):
        said.slab(slice(k, k + 1))

    assert len(asked) == 1


def test_what_a_later_stage_takes_is_decided_on_once_for_every_grid(output):
    said, asked = output

    fine, again, coarse = said.prior((20, 5, 6)), said.prior((20, 5, 6)), said.prior((10, 5, 6))

    assert again is fine
    assert len(asked) == 2
    np.testing.assert_array_equal(fine, prior_labels(said.prediction, (20, 5, 6), OUTPUT))
    assert coarse.shape == (10, 5, 6)


def test_its_box_is_the_crop_in_the_slices_that_are_reached(output):
    said, _ = output

    # slices 4 and 5 of 10 are 8 to 11 of 20, and one on either side is interpolated from them
    assert said.box == (slice(3 + 7, 3 + 13), *CROP[1:])
    assert said.slab(slice(10, 12)).shape == (2, 2, 5, 6)


def test_slabs_are_interpolated_alike_wherever_they_begin(output):
    said, _ = output
    whole = said.slab(said.box[0])

    for k in range(6):
        assert torch.equal(said.slab(slice(10 + k, 11 + k)), whole[:, k : k + 1])


def test_in_the_crop_the_label_map_is_that_of_the_stage(output):
    said, _ = output
    labels = label_map(said)

    assert (labels[CROP] == resample_labels(said.prediction, (20, 5, 6), OUTPUT.decide)).all()
    labels[CROP] = 0
    assert not labels.any()
