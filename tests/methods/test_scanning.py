"""How a stage goes through a scan, beside MONAI's sliding window over the whole of it."""

from functools import partial

import numpy as np
import pytest
import torch
from monai.inferers import SimpleInferer, SlidingWindowInferer
from monai.losses import DiceCELoss
from monai.transforms import ScaleIntensityRange
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import ConstantLR

from kidney_lab.data.prepare import GridRecipe
from kidney_lab.data.views import PatchView, RoiView, SliceView
from kidney_lab.data.views.boxes import AIR_HU
from kidney_lab.methods.earlier import Earlier
from kidney_lab.methods.inference_settings import InferenceSettings
from kidney_lab.methods.output import build_output
from kidney_lab.methods.stage import Stage
from kidney_lab.methods.supervised import SupervisedSegmentation
from kidney_lab.progress import listening
from kidney_lab.transforms.augment import Augment

EPOCH = {"samples_per_epoch": 2, "val_samples": 2}
ROI = (6, 8, 8)
EVERYWHERE = InferenceSettings(skip_air=False)


class Counting(nn.Module):
    """Sees a neighbourhood, so that a voxel gets another answer in every window; counts what it sees."""

    def __init__(self, dims: int = 3, in_channels: int = 1, channels: int = 3) -> None:
        super().__init__()
        conv = nn.Conv3d if dims == 3 else nn.Conv2d
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.body = nn.Sequential(conv(in_channels, 8, 5, padding=2), nn.ReLU(), conv(8, channels, 5, padding=2))
        self.batches: list[int] = []

    def forward(self, image: Tensor) -> Tensor:
        self.batches.append(len(image))
        logits: Tensor = self.body(image)
        return 3 * logits


def stage(kind="labels", *, view=None, inferer=None, network=None, earlier=None) -> Stage:
    return Stage(
        module=SupervisedSegmentation(
            network=network or Counting(channels=3 if kind == "labels" else 2),
            loss=DiceCELoss(sigmoid=True),
            optimizer=partial(SGD, lr=0.1),
            scheduler=partial(ConstantLR, factor=1.0),
            output=build_output(kind, labels=["kidney", "tumor"], regions=["kidney_and_mass", "tumor"]),
        ),
        view=view or PatchView(roi_size=ROI, foreground_fraction=0.5, **EPOCH),
        augment=Augment(),
        intensity=ScaleIntensityRange(a_min=-100, a_max=300, b_min=-2.0, b_max=2.0),
        inferer=inferer or SlidingWindowInferer(roi_size=ROI, overlap=0.5, mode="gaussian", sw_batch_size=2),
        grid=GridRecipe(),
        batch_size=2,
        earlier=earlier,
    )


def scan(*shape: int) -> Tensor:
    """A body of noise in air."""
    image = np.random.default_rng(0).integers(-100, 300, shape)
    return torch.from_numpy(image.astype(np.int16))[None]


def labels_of(made: Stage, image: Tensor, prior=None, **settings) -> Tensor:
    return made.predict(image, prior, **settings).labels(made.module.output.decide)


def by_monai(made: Stage, image: Tensor) -> Tensor:
    """Probabilities as MONAI's inferer gives them of the whole volume at once."""
    return made.module.infer(made.intensity(image.float())[None])[0]


def difference(one: Tensor, other: Tensor) -> float:
    """Share of the foreground that two label maps differ in."""
    return float((one != other).sum() / max(1, (other > 0).sum()))


class TestMonai:
    @pytest.mark.parametrize("kind", ["labels", "regions"])
    @pytest.mark.parametrize("mode", ["gaussian", "constant"])
    @pytest.mark.parametrize(("shape", "overlap"), [((6, 8, 8), 0.5), ((27, 21, 19), 0.5), ((13, 30, 9), 0.25)])
    def test_label_maps_are_those_of_its_sliding_window(self, kind, mode, shape, overlap):
        inferer = SlidingWindowInferer(roi_size=ROI, overlap=overlap, mode=mode, sigma_scale=0.125, sw_batch_size=3)
        made, image = stage(kind, inferer=inferer), scan(*shape)
        expected = by_monai(made, image)

        predicted = made.predict(image, None)

        torch.testing.assert_close(predicted.probabilities, expected, rtol=1e-4, atol=1e-5)
        decided = made.module.output.decide(expected)
        assert decided.unique().tolist() == [0, 1, 2]
        assert difference(predicted.labels(made.module.output.decide), decided) <= 0.001

    def test_a_window_of_one_number_and_one_of_the_whole_plane_are_taken_as_it_takes_them(self):
        for roi_size in (6, (6, -1, 8)):
            inferer = SlidingWindowInferer(roi_size=roi_size, overlap=0.5)
            made, image = stage(inferer=inferer), scan(11, 9, 12)

            found = made.predict(image, None).probabilities

            torch.testing.assert_close(found, by_monai(made, image), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("shape", [(2, 8, 8), (1, 3, 20), (5, 7, 3)])
    def test_a_scan_smaller_than_a_window_lies_in_air(self, shape):
        made, image = stage(), scan(*shape)
        grown = torch.full((1, *(max(n, m) for n, m in zip(shape, ROI, strict=True))), AIR_HU, dtype=torch.int16)
        begin = [max(0, m - n) // 2 for n, m in zip(shape, ROI, strict=True)]
        inside = (..., *(slice(b, b + n) for b, n in zip(begin, shape, strict=True)))
        grown[inside] = image

        found = made.predict(image, None).probabilities

        assert found.shape == (3, *shape)
        torch.testing.assert_close(found, by_monai(made, grown)[inside], rtol=1e-4, atol=1e-5)

    def test_bfloat16_gives_the_same_label_map_but_for_a_few_voxels(self):
        made, image = stage(), scan(18, 24, 24)
        smooth = torch.nn.functional.avg_pool3d(image[None].float(), 5, stride=1, padding=2)[0].to(torch.int16)

        full = labels_of(made, smooth)
        half = labels_of(made, smooth, context=partial(torch.autocast, "cpu", dtype=torch.bfloat16))

        assert set(full.unique().tolist()) > {0}
        assert 0 < difference(half, full) < 0.02  # a net that has learnt nothing is unsure everywhere


class TestAir:
    def test_windows_of_nothing_but_air_are_left_out_and_the_body_s_labels_stay(self):
        image = torch.full((1, 24, 40, 40), -1000, dtype=torch.int16)
        image[:, 2:21, 4:18, 4:18] = scan(19, 14, 14)
        body = (slice(2, 21), slice(4, 18), slice(4, 18))
        some, every = stage(), stage()

        labels, reference = labels_of(some, image), labels_of(every, image, settings=EVERYWHERE)

        assert sum(some.module.network.batches) < 0.5 * sum(every.module.network.batches)
        assert torch.equal(labels[body], reference[body])
        assert not labels[:, 24:, 24:].any()

    def test_a_scan_of_air_is_background_and_no_window_is_run(self):
        made = stage()

        labels = labels_of(made, torch.full((1, 20, 20, 20), -1000, dtype=torch.int16))

        assert made.module.network.batches == []
        assert labels.shape == (20, 20, 20)
        assert not labels.any()


class TestRois:
    def test_boxes_that_overlap_are_run_in_order_and_the_larger_probability_counts(self):
        view = RoiView(size=(10, 12, 12), **EPOCH)
        made = stage(view=view, network=Counting(), earlier=Earlier("coarse", [], prior="none"))
        image, prior = scan(40, 16, 40), torch.zeros(1, 40, 16, 40, dtype=torch.uint8)
        prior[:, 4:9, 5:10, 3:9] = prior[:, 9:14, 5:10, 12:34] = 1  # wider than a box

        predicted = made.predict(image, prior)

        windows = view.windows((40, 16, 40), prior[0].numpy(), ROI)
        assert len(windows) > 1
        expected = torch.zeros(3, 40, 16, 40)
        for window in windows:
            box = (slice(None), *window.box)
            expected[box] = torch.maximum(expected[box], by_monai(made, image[box]))
        inside = (slice(None), *predicted.box)
        torch.testing.assert_close(predicted.probabilities, expected[inside], rtol=1e-4, atol=1e-5)
        expected[inside] = 0
        assert not expected.any()


class TestMirroring:
    @pytest.mark.parametrize("sliding", [True, False])
    def test_it_is_the_mean_of_the_logits_of_mirror_images(self, sliding):
        inferer = SlidingWindowInferer(roi_size=ROI) if sliding else SimpleInferer()
        made, image = stage(inferer=inferer), scan(*ROI)
        seen = made.intensity(image.float())[None]
        with torch.no_grad():
            network = made.module.network
            logits = torch.stack([network(seen), network(seen.flip(4)).flip(4)]).mean(dim=0)

        found = made.predict(image, None, settings=InferenceSettings(mirror_axes=[2])).probabilities

        torch.testing.assert_close(found, logits.softmax(dim=1)[0], rtol=1e-4, atol=1e-5)

    def test_slices_are_mirrored_within_their_plane(self):
        view = SliceView(roi_size=(12, 10), **EPOCH)
        made = stage(view=view, network=Counting(dims=2), inferer=SimpleInferer())
        image = scan(5, 12, 10)

        found = made.predict(image, None, settings=InferenceSettings(mirror_axes=[0, 2])).probabilities

        flipped = made.predict(image.flip(3), None, settings=InferenceSettings(mirror_axes=[2])).probabilities
        torch.testing.assert_close(found, flipped.flip(3), rtol=1e-4, atol=1e-5)
        assert not torch.allclose(found, made.predict(image, None).probabilities)


def test_how_far_the_windows_have_come_is_told():
    told = []

    with listening(lambda *heard: told.append(heard)):
        labels_of(stage(), scan(9, 8, 12))

    assert told == [("", 2, 4), ("", 4, 4)]


def test_slices_are_told_of_as_well():
    view, told = SliceView(roi_size=(12, 10), **EPOCH), []

    with listening(lambda *heard: told.append(heard)):
        labels_of(stage(view=view, network=Counting(dims=2), inferer=SimpleInferer()), scan(5, 12, 10))

    assert told == [("", 2, 5), ("", 4, 5), ("", 5, 5)]


def test_whoever_goes_through_a_prediction_computes_as_before():
    context = partial(torch.autocast, "cpu", dtype=torch.bfloat16)

    for _ in stage().predict(scan(30, 8, 8), None, context=context).slabs():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
        assert torch.is_grad_enabled()
