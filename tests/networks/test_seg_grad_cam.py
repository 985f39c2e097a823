import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models.detection.mask_rcnn import MaskRCNNPredictor

from kidney_lab.networks.seg_grad_cam import channel_weights, differentiable_logits, heatmaps, seg_grad_cam
from tests.references import seg_grad_cam as literal

CLASSES = torch.tensor([1, 2, 1])


def mask_head() -> nn.Module:
    """Mask R-CNN's last layers, small: 3 channels of 4x5 places to logits of 3 classes on 8x10 pixels."""
    torch.manual_seed(0)
    return MaskRCNNPredictor(in_channels=3, dim_reduced=6, num_classes=3).double().eval()


def rois() -> tuple[torch.Tensor, torch.Tensor]:
    """Activations and pixel sets of three RoIs."""
    generator = torch.Generator().manual_seed(1)
    activations = torch.randn(3, 3, 4, 5, generator=generator, dtype=torch.float64)
    return activations, torch.rand(3, 8, 10, generator=generator) < 0.3


def pointwise(*weights: list[list[float]]) -> nn.Sequential:
    """1x1 convolutions without bias, each given as rows of outputs by inputs, with ReLU between them."""
    layers: list[nn.Module] = []
    for rows in weights:
        layer = nn.Conv2d(len(rows[0]), len(rows), 1, bias=False)
        layer.weight.data = torch.tensor(rows)[:, :, None, None]
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def heat_of(activations, head, classes, pixels, **how):
    return heatmaps(*differentiable_logits(activations, head), classes, pixels, **how)


def test_two_layers_by_hand():
    # hidden 0 is A0 - A1, so active at (0, 1) and (1, 1) alone; hidden 1 is 2 A0 + A1, active everywhere
    head = pointwise([[1.0, -1.0], [2.0, 1.0]], [[1.0, 0.0], [-1.0, 3.0]])
    activations = torch.tensor([[[[1.0, 2.0], [0.0, 3.0]], [[2.0, 1.0], [1.0, 1.0]]]])
    pixels = torch.tensor([[[True, True], [False, True]]])
    # d y1 / d (A0, A1): 3 (2, 1) = (6, 3) at (0, 0); 3 (2, 1) - (1, -1) = (5, 4) at (0, 1) and (1, 1)
    alpha = torch.tensor([[16 / 4, 11 / 4]])
    psi = torch.tensor([[[9.5, 10.75], [2.75, 14.75]]])

    leaf, logits = differentiable_logits(activations, head)
    asked = leaf, logits, torch.tensor([1]), pixels

    torch.testing.assert_close(channel_weights(*asked), alpha, rtol=0, atol=0)
    torch.testing.assert_close(seg_grad_cam(*asked), psi, rtol=0, atol=0)
    torch.testing.assert_close(heatmaps(*asked), psi / 14.75)


def test_one_pointwise_convolution_weighs_channels_by_its_weights_and_the_share_of_pixels():
    head = pointwise([[0.5, -0.25, 2.0], [1.0, 4.0, -8.0]])
    pixels = torch.zeros(2, 4, 8, dtype=torch.bool)
    pixels[0, 1, :5], pixels[1] = True, True

    traced = differentiable_logits(torch.randn(2, 3, 4, 8), head)
    weights = channel_weights(*traced, torch.tensor([1, 0]), pixels)

    expected = torch.tensor([[1.0, 4.0, -8.0], [0.5, -0.25, 2.0]]) * torch.tensor([[5 / 32], [1.0]])
    torch.testing.assert_close(weights, expected, rtol=0, atol=0)


@pytest.mark.parametrize("confined", [False, True])
def test_mask_head_of_mask_rcnn_equals_equations_1_and_2_read_literally(confined):
    head, (activations, pixels) = mask_head(), rois()
    support = torch.rand(3, 8, 10) < 0.5 if confined else None

    heat = heat_of(activations, head, CLASSES, pixels, support=support)

    for n, c in enumerate(CLASSES.tolist()):
        rows = literal.resized(literal.psi(activations[n], head, c, pixels[n].nonzero().tolist()), 8, 10)
        inside = (torch.ones(8, 10) if support is None else support[n]).tolist()
        np.testing.assert_allclose(heat[n], literal.h(rows, inside), rtol=1e-10, atol=1e-12)
    assert (heat.amax(dim=(1, 2)) > 0).all()


def test_rois_of_a_batch_do_not_see_each_other():
    head, (activations, pixels) = mask_head(), rois()
    together = heat_of(activations, head, CLASSES, pixels)
    alone = [heat_of(activations[n : n + 1], head, CLASSES[n : n + 1], pixels[n : n + 1]) for n in range(3)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-12, atol=1e-12)


def test_equals_the_package_grad_cam_on_a_plain_network():
    gradcam = pytest.importorskip("pytorch_grad_cam", reason="grad-cam is not installed")
    targets = pytest.importorskip("pytorch_grad_cam.utils.model_targets")
    torch.manual_seed(3)
    network = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 3, 3, padding=1)).eval()
    image, mask = torch.randn(1, 1, 12, 9), np.zeros((12, 9), np.float32)
    mask[3:8, 2:7] = 1

    with gradcam.GradCAM(network, target_layers=[network[1]]) as cam:
        expected = cam(image, targets=[targets.SemanticSegmentationTarget(2, mask)])

    traced = differentiable_logits(network[:2](image), network[2])
    psi = seg_grad_cam(*traced, torch.tensor([2]), torch.from_numpy(mask)[None] > 0)
    assert psi.max() > psi.min()
    scaled = (psi - psi.min()) / (psi.max() - psi.min())  # the package also takes the smallest value to 0
    np.testing.assert_allclose(scaled, expected, atol=1e-5)


def test_where_nothing_speaks_for_the_class_there_is_no_heat():
    heat = heat_of(torch.ones(1, 2, 3, 3), pointwise([[-1.0, -2.0]]), torch.tensor([0]), torch.ones(1, 3, 3).bool())
    assert torch.equal(heat, torch.zeros(1, 3, 3))


def test_without_pixels_there_is_no_heat():
    activations, pixels = rois()
    pixels[1] = False
    heat = heat_of(activations, mask_head(), CLASSES, pixels)
    assert torch.equal(heat[1], torch.zeros(8, 10, dtype=torch.float64))
    torch.testing.assert_close(heat.amax(dim=(1, 2)), torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64))


def test_without_rois_there_are_no_heat_maps():
    head = mask_head().float()
    heat = heat_of(torch.empty(0, 3, 4, 5), head, torch.empty(0, dtype=torch.long), torch.empty(0, 8, 10).bool())
    assert heat.shape == (0, 8, 10)


def test_the_same_logits_can_be_asked_about_several_classes():
    head, (activations, pixels) = mask_head(), rois()
    traced = differentiable_logits(activations, head)
    first, second = (heatmaps(*traced, torch.full((3,), c), pixels) for c in (1, 2))
    assert torch.equal(heatmaps(*traced, torch.full((3,), 1), pixels), first)
    assert not torch.allclose(first, second)


def test_no_gradient_reaches_parameters_or_what_led_to_the_activations():
    head, (activations, pixels) = mask_head(), rois()
    before = nn.Conv2d(3, 3, 1).double()
    head.mask_fcn_logits.bias.grad = torch.full((3,), 7.0, dtype=torch.float64)  # of a training that goes on around it

    heat = heat_of(before(activations), head, CLASSES, pixels)

    assert not heat.requires_grad
    touched = [p for p in [*before.parameters(), *head.parameters()] if p.grad is not None]
    assert len(touched) == 1
    assert torch.equal(touched[0].grad, torch.full((3,), 7.0, dtype=torch.float64))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_works_where_gradients_are_off(mode):
    head, (activations, pixels) = mask_head(), rois()
    expected = heat_of(activations, head, CLASSES, pixels)
    with mode():
        made_inside = activations + 0
        pixels_inside, classes_inside = pixels & True, CLASSES + 0
        heat = heat_of(made_inside, head, classes_inside, pixels_inside, support=pixels_inside)
        assert torch.is_grad_enabled() is False
    assert torch.equal(heat, expected * pixels)


@pytest.mark.parametrize("layer", ["convolution", "matrix product"])
def test_computes_in_single_precision_under_autocast(layer):
    activations, pixels = rois()
    coarse, weights = activations.bfloat16(), torch.rand(3, 3)

    def product(a: torch.Tensor) -> torch.Tensor:
        return (a.permute(0, 2, 3, 1) @ weights @ weights).permute(0, 3, 1, 2)

    head, pixels = (mask_head().float(), pixels) if layer == "convolution" else (product, pixels[:, :4, :5])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        leaf, logits = differentiable_logits(coarse, head)
        heat = heatmaps(leaf, logits, CLASSES, pixels)
    assert {leaf.dtype, logits.dtype, heat.dtype} == {torch.float32}
    assert torch.equal(heat, heat_of(coarse.float(), head, CLASSES, pixels))
