import numpy as np
import pytest
import torch
from torch import nn

from kidney_lab.errors import InputError
from kidney_lab.methods.detection import region_maps
from kidney_lab.methods.refit import SoftmaxRefit
from kidney_lab.networks.ernet import ERNet, RoiMaps, _in_boxes, grey_values, region_masks
from kidney_lab.networks.mask_activation import own_region, region_probabilities
from kidney_lab.networks.slice_rois import largest_by_class, paste, pixel_boxes
from tests.networks.test_mask_rcnn import network, squares

SIZE = (64, 64)


class Shift(nn.Module):
    """A refit that can be followed by hand."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.tensor(by))

    def forward(self, probability, heat, image):
        return (0.5 * probability + 0.25 * heat + 0.1 * image + self.by).clamp(0, 1)


def ernet(*, refits=None, **settings) -> ERNet:
    detector = {name: settings.pop(name) for name in ("mask_activation", "in_channels") if name in settings}
    threshold = settings.pop("box_score_thresh", 0.2)  # random weights are sure of nothing
    made = network(box_score_thresh=threshold, **detector)
    return ERNet(detector=made, refits=refits or [Shift(0.01), Shift(0.02)], **settings).eval()


def looked_into(model, image, label=None) -> list[RoiMaps]:
    with torch.no_grad():
        return model.rois(image, label)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_before_anything_is_refitted_its_answer_is_the_detector_s_inside_its_rois(activation):
    image, _ = squares()
    refits = [SoftmaxRefit(region) for region in ("kidney_and_mass", "tumor")]
    model = ernet(refits=refits, mask_activation=activation)

    with torch.no_grad():
        found, rois = model(image), model.rois(image)
        detections = model.detector(image)

    for answer, own, one in zip(found, rois, detections, strict=True):
        masks = paste(
            own_region(region_probabilities(one["mask_logits"], activation), one["labels"]), one["boxes"], SIZE
        )
        assert torch.equal(largest_by_class(own.probability, own.labels), region_maps(one, SIZE, model.detector))
        assert torch.equal(answer, largest_by_class(masks[:, 0] * own.inside, one["labels"]))
        assert answer.any()


def test_probability_heat_and_roi_are_those_of_each_box():
    image, _ = squares()
    model = ernet()
    with torch.no_grad():
        found = model.detector(image)
    for rois, one in zip(looked_into(model, image), found, strict=True):
        probability = own_region(region_probabilities(one["mask_logits"], "sigmoid"), one["labels"])
        assert torch.equal(rois.labels, one["labels"])
        assert torch.equal(rois.probability, paste(probability, one["boxes"], SIZE)[:, 0])
        left, top, right, bottom = pixel_boxes(one["boxes"], SIZE)[0]
        expected = torch.zeros(SIZE, dtype=torch.bool)
        expected[top:bottom, left:right] = True
        assert torch.equal(rois.inside[0], expected)
        assert rois.heat.shape == rois.probability.shape
        assert (rois.heat.min() >= 0, rois.heat.max() <= 1) == (True, True)


def test_heat_is_that_of_autograd_by_hand():
    image, _ = squares(n=1)
    model = ernet()
    (rois,) = looked_into(model, image)

    detector = model.detector
    with torch.no_grad():
        pyramid = detector.pyramid(image)
        boxes = [detector.detect(pyramid)[0]["boxes"]]
        activations = detector.mask_activations(pyramid, boxes)
    leaf = activations.clone().requires_grad_()
    logits = detector.mask_logits(leaf)
    for number, label in enumerate(rois.labels.tolist()):
        own = logits[number, label]
        (gradient,) = torch.autograd.grad(own[own > 0].sum(), leaf, retain_graph=True)
        psi = (gradient[number].mean(dim=(1, 2))[:, None, None] * activations[number]).sum(dim=0).relu()
        heat = nn.functional.interpolate(psi[None, None], size=own.shape, mode="bilinear", align_corners=False)
        heat = heat / heat.max() if heat.max() > 0 else heat
        expected = paste(heat, boxes[0][number : number + 1], SIZE)[0, 0]
        torch.testing.assert_close(rois.heat[number], expected, atol=1e-5, rtol=1e-4)


def test_the_refit_sees_probability_heat_and_grey_value_of_a_pixel_and_the_largest_output_counts():
    image, _ = squares()
    model = ernet()
    with torch.no_grad():
        answer = model(image)
    for one, rois, found in zip(image, looked_into(model, image), answer, strict=True):
        expected = torch.zeros(2, *SIZE)
        for label, inside, probability, heat in zip(*rois, strict=True):
            new = (0.5 * probability + 0.25 * heat + 0.1 * one[0] + 0.01 * label).clamp(0, 1) * inside
            expected[label - 1] = torch.maximum(expected[label - 1], new)
        torch.testing.assert_close(found, expected)


def test_larger_rois_are_looked_into_and_reset():
    image, _ = squares()
    precise, coarse, none = (looked_into(ernet(roi_scale=scale), image) for scale in (1.0, 1.5, float("inf")))
    for one, larger, whole in zip(precise, coarse, none, strict=True):
        assert len(one.labels) == len(larger.labels) == len(whole.labels) > 0
        assert (larger.inside.flatten(1).sum(dim=1) > one.inside.flatten(1).sum(dim=1)).any()
        assert whole.inside.all()


def test_line_10_as_printed_makes_the_predicted_mask_the_roi():
    image, _ = squares()
    for plain, masked in zip(looked_into(ernet(), image), looked_into(ernet(roi_mask=True), image), strict=True):
        assert torch.equal(masked.inside, plain.inside & (plain.probability > 0.5))


def test_the_reference_s_pixels_of_a_box_are_those_of_its_class_at_the_middles_of_its_cells():
    masks = torch.zeros(2, 2, 6, 8, dtype=torch.bool)  # slices, regions, H, W
    for slice_, region, y, x in ((0, 0, 1, 2), (0, 0, 3, 4), (0, 0, 3, 6), (0, 1, 1, 6), (0, 1, 3, 2), (1, 1, 5, 0)):
        masks[slice_, region, y, x] = True
    wide, tall = (
        [1.0, 0.0, 7.0, 4.0],
        [-0.5, 0.5, 1.0, 5.5],
    )  # middles at y 1, 3, x 2, 4, 6; y 1.75, 4.25, x -.25, .25, .75

    found = _in_boxes(
        list(masks),
        [torch.tensor([wide, wide]), torch.tensor([tall, wide])],
        [torch.tensor([1, 2]), torch.tensor([2, 1])],
        (2, 3),
    )

    assert found.int().tolist() == [
        [[1, 0, 0], [0, 1, 1]],  # the kidney region of the first slice
        [[0, 0, 1], [1, 0, 0]],  # its tumor
        [[0, 0, 0], [0, 0, 0]],  # of the second slice, whose one pixel lies a row below the middles
        [[0, 0, 0], [0, 0, 0]],  # and is of the other class
    ]
    masks[1, 1, 4, 0] = True
    tumor = _in_boxes([masks[1]], [torch.tensor([tall])], [torch.tensor([2])], (2, 3))
    assert tumor.int().tolist() == [[[0, 0, 0], [1, 1, 0]]]


@pytest.mark.parametrize("settings", [{"support": "reference"}, {"pixels": "reference"}])
def test_the_reference_is_used_in_training_alone_and_only_where_it_is_asked_for(settings):
    image, label = squares()
    noise = torch.from_numpy(np.random.default_rng(0).integers(0, 3, label.shape).astype(np.uint8))
    chosen, plain = ernet(**settings), ernet()

    def heat(model, reference):
        return torch.cat([rois.heat for rois in looked_into(model, image, reference)])

    assert torch.equal(heat(chosen, None), heat(plain, None))
    assert torch.equal(heat(plain, label), heat(plain, noise))
    assert not torch.equal(heat(chosen, label), heat(chosen, noise))


def test_eq_2_as_printed_leaves_heat_on_the_pixels_of_the_class():
    image, label = squares()
    for one, plain, masks in zip(
        looked_into(ernet(support="reference"), image, label),
        looked_into(ernet(), image, label),
        [region_masks(own) for own in label[:, 0]],
        strict=True,
    ):
        assert torch.equal(one.heat, plain.heat * masks[plain.labels - 1])


def test_a_slice_without_a_detection_is_background():
    image, _ = squares()
    model = ernet(box_score_thresh=0.999)

    with torch.no_grad():
        answer = model(image)

    assert answer.shape == (2, 2, *SIZE)
    assert not answer.any()
    assert [len(rois.labels) for rois in looked_into(model, image, torch.zeros(2, 1, *SIZE, dtype=torch.uint8))] == [
        0,
        0,
    ]


def test_it_explains_itself_where_no_gradients_are_recorded_and_gives_none_to_its_weights():
    image, _ = squares()
    model = ernet()
    with torch.no_grad():
        expected = model(image)
    with torch.inference_mode():
        assert torch.equal(model(image), expected)

    assert not any(parameter.requires_grad for parameter in model.detector.parameters())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_grey_value_of_a_slice_with_neighbours_is_its_own():
    image = torch.arange(3.0)[:, None, None].expand(3, 4, 5)

    assert (grey_values(image) == 1).all()


def test_masses_belong_to_the_kidney_region():
    masks = region_masks(torch.tensor([[0, 1, 2, 3]], dtype=torch.uint8))

    assert masks.tolist() == [[[False, True, True, True]], [[False, False, True, False]]]


@pytest.mark.parametrize("key", ["layer", "pixels", "support"])
def test_an_unknown_choice_is_named(key):
    with pytest.raises(InputError, match=rf"model\.heatmap\.{key}=x is unknown: choose "):
        ernet(**{key: "x"})
