from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from monai.inferers import SimpleInferer, SliceInferer, SlidingWindowInferer
from monai.losses import DiceCELoss
from monai.transforms import Compose, NormalizeIntensity, ScaleIntensityRange
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import ConstantLR

from kidney_lab.data.prepare import GridRecipe
from kidney_lab.data.sampling import SampleKey
from kidney_lab.data.statistics import IntensityStatistics
from kidney_lab.data.store import Cost, Store
from kidney_lab.data.store_writer import CaseRecord, create_store, write_case
from kidney_lab.data.views import PatchView, RoiView, SliceRoiView, SliceView, ViewDataset
from kidney_lab.errors import InputError
from kidney_lab.geometry import grid_from_spacing
from kidney_lab.methods.earlier import Earlier
from kidney_lab.methods.output import build_output
from kidney_lab.methods.prediction import Prediction
from kidney_lab.methods.stage import Stage, spatial_dims_of
from kidney_lab.methods.supervised import SupervisedSegmentation
from kidney_lab.transforms.augment import Augment
from kidney_lab.transforms.normalize import NormalizeForeground

EPOCH = {"samples_per_epoch": 2, "val_samples": 2}
PATCHES = PatchView(roi_size=(4, 4, 4), foreground_fraction=0.5, **EPOCH)
WINDOW = ScaleIntensityRange(a_min=-79, a_max=304, b_min=-1.0, b_max=1.0, clip=True)


def stage(*, view=PATCHES, intensity=WINDOW, inferer=None, network=None, earlier=None) -> Stage:
    module = SupervisedSegmentation(
        network=network or nn.Conv3d(1, 2, 1),
        loss=DiceCELoss(sigmoid=True),
        optimizer=partial(SGD, lr=0.1),
        scheduler=partial(ConstantLR, factor=1.0),
        output=build_output("regions", labels=["kidney", "tumor"], regions=["kidney_and_mass", "tumor"]),
    )
    return Stage(
        module=module,
        view=view,
        augment=Augment(),
        intensity=intensity,
        inferer=inferer or SlidingWindowInferer(roi_size=(4, 4, 4)),
        grid=GridRecipe(),
        batch_size=2,
        earlier=earlier,
    )


@pytest.fixture
def store(tmp_path) -> Store:
    """Two training cases: a foreground of 100 to 199 HU in boxes of other places and sizes."""
    create_store(tmp_path / "store", {})
    for k, box in enumerate([np.s_[2:6, 2:10, 2:9], np.s_[1:4, 3:5, 1:15]]):
        label = np.zeros((8, 16, 16), np.uint8)
        label[box] = 1
        image = np.random.default_rng(k).integers(100, 200, label.shape).astype(np.int16)
        grid = grid_from_spacing(label.shape, (1.0, 1.0, 1.0))
        whole = tuple(slice(0, n) for n in label.shape)
        record = CaseRecord(image=image, label=label, grid=grid, source=grid, crop=whole, sources={}, seed=k)
        write_case(tmp_path / "store", f"case_0000{k}", record, lambda: Cost(0.0, 0.0))
    return Store(tmp_path / "store")


def test_a_stage_gives_its_inferer_to_its_module():
    def inferer(image: Tensor, network) -> Tensor:
        return network(image)

    assert stage(inferer=inferer).module.inferer is inferer


class Echo(nn.Module):
    """Gives the first channel back twice, and keeps every window that it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, image: Tensor) -> Tensor:
        self.seen.append(image.clone())
        return torch.cat([image[:, :1]] * 2, dim=1)


def predict(made: Stage, image: Tensor, prior: Tensor | None) -> Prediction:
    """What a stage predicts, once it has gone through the scan."""
    predicted = made.predict(image, prior).kept()
    list(predicted.slabs())
    return predicted


def hounsfield(value: int) -> Tensor:
    return torch.full((1, 2, 4, 4), value, dtype=torch.int16)


class TestAir:
    @pytest.mark.parametrize(
        ("intensity", "air"),
        [
            (WINDOW, -1.0),
            (ScaleIntensityRange(a_min=-130, a_max=410, b_min=0, b_max=255, clip=True), 0.0),
            (ScaleIntensityRange(a_min=0, a_max=1000, b_min=0, b_max=1), -1.0),
            (Compose([WINDOW, NormalizeIntensity(subtrahend=0.5, divisor=0.5)]), -3.0),
        ],
    )
    def test_a_scan_thinner_than_a_window_is_padded_with_what_the_network_sees_of_air(self, intensity, air):
        network = Echo()

        predicted = predict(stage(intensity=intensity, network=network), hounsfield(77), None)

        (seen,) = network.seen
        assert seen.shape == (1, 1, 4, 4, 4)
        assert seen.unique().tolist() == pytest.approx([air, float(intensity(torch.full((1, 1, 1, 1), 77.0)))])
        assert predicted.probabilities.shape == (2, 2, 4, 4)

    def test_where_the_statistics_decide_it_is_what_they_make_of_air(self, store):
        network = Echo()
        made = stage(intensity=NormalizeForeground(window=(-150, 250)), network=network)

        made.fit(store, store.cases)
        predict(made, hounsfield(77), None)

        s = made.intensity.statistics
        assert network.seen[0].min() == pytest.approx((-150 - s.mean) / s.std)


def cascaded(*, size=(4, 4, 4), network=None, **settings) -> Stage:
    """A stage that takes from another, whose boxes have a size."""
    earlier = Earlier("coarse", ["kidney", "tumor"], **settings)
    view = RoiView(size=size, **EPOCH)
    return replace(stage(view=view, network=network or Echo()), earlier=earlier)


def prior_of(*boxes) -> Tensor:
    prior = torch.zeros(1, 12, 16, 16, dtype=torch.uint8)
    for value, box in boxes:
        prior[0][box] = value
    return prior


class TestPriors:
    image = (torch.arange(12 * 16 * 16) % 400 - 90).reshape(1, 12, 16, 16).to(torch.int16)

    def test_labels_of_the_earlier_stage_are_channels_beside_the_image(self):
        made = cascaded()
        prior = prior_of((1, np.s_[4:7, 4:7, 4:7]), (2, np.s_[5, 5, 5]))

        predicted = predict(made, self.image, prior)

        assert predicted.box == (slice(3, 7), slice(3, 7), slice(3, 7))
        (seen,) = made.module.network.seen
        box = (slice(None), *predicted.box)
        expected = torch.cat([WINDOW(self.image[box].float()), (prior[box] == 1).float(), (prior[box] == 2).float()])
        assert torch.equal(seen[0], expected)
        assert made.channels == 3

    @pytest.mark.parametrize(
        ("kind", "channels"), [("none", 1), ("reference", 3), ("predicted", 3), ("out_of_fold", 3)]
    )
    def test_without_a_prior_the_image_is_alone_and_else_its_labels_stand_beside_it(self, kind, channels):
        made = cascaded(prior=kind)

        predict(made, self.image, prior_of((1, np.s_[4:7, 4:7, 4:7])))

        assert made.channels == channels
        assert made.module.network.seen[0].shape == (1, channels, 4, 4, 4)

    def test_beyond_the_volume_lie_air_and_no_label(self):
        made = cascaded(size=(20, 4, 4))

        predict(made, self.image, prior_of((1, np.s_[0:12, 4:6, 4:6])))

        beyond = [window[0, :, 0, 0, 0].tolist() for window in made.module.network.seen]
        assert [-1.0, 0.0, 0.0] in beyond

    def test_a_stage_without_a_region_of_interest_sees_the_whole_volume(self):
        made = replace(cascaded(roi="none"), view=PATCHES)

        predicted = predict(made, self.image, prior_of((1, np.s_[4:7, 4:7, 4:7])))

        assert predicted.box == (slice(0, 12), slice(0, 16), slice(0, 16))
        expected = WINDOW(self.image.float()).sigmoid().expand(2, -1, -1, -1)
        torch.testing.assert_close(predicted.probabilities, expected)

    def test_where_the_earlier_stage_found_nothing_the_whole_volume_is_searched(self):
        predicted = cascaded().predict(self.image, prior_of())

        assert predicted.box == (slice(0, 12), slice(0, 16), slice(0, 16))

    def test_two_kidneys_that_no_box_holds_get_a_box_each(self):
        made = cascaded()

        predicted = predict(made, self.image, prior_of((1, np.s_[4:6, 4:6, 1:3]), (1, np.s_[4:6, 4:6, 13:15])))

        assert len(made.module.network.seen) == 2
        assert predicted.box == (slice(3, 7), slice(3, 7), slice(0, 16))
        assert not predicted.probabilities[..., 4:12].any()  # nothing is predicted between them
        assert predicted.probabilities[..., 0:4].all()

    def test_a_view_without_a_box_is_refused_when_the_stage_is_composed(self):
        with pytest.raises(InputError, match=r"PatchView has no box .*: choose view=roi, or model\.roi=none"):
            replace(stage(), earlier=Earlier("coarse", ["kidney"]))


class Echo2d(nn.Module):
    """As `Echo`, for slices."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Conv2d(1, 1, 1)
        self.seen: list[Tensor] = []

    def forward(self, image: Tensor) -> Tensor:
        self.seen.append(image.clone())
        return torch.cat([image[:, :1]] * 2, dim=1)


SLICES = {
    "resized": SliceView(size=(12, 12), neighbours=1, denoise="median", **EPOCH),
    "quantized": SliceView(size=(10, 20), quantize=True, **EPOCH),
    "as stored": SliceView(roi_size=(16, 16), **EPOCH),
    "padded": SliceView(roi_size=(21, 19), **EPOCH),
    "rois": SliceRoiView(size=(12, 12), jitter=0.0, region="kidney_and_mass", neighbours=1, **EPOCH),
    "rois of resized slices": SliceRoiView(size=(12, 12), jitter=0.0, source="resized", denoise="median", **EPOCH),
}


class TestSlices:
    def made(self, view, *, windowed=True) -> Stage:
        earlier = Earlier("coarse", ["kidney"], prior="none") if isinstance(view, SliceRoiView) else None
        inferer = SlidingWindowInferer(roi_size=view.roi_size, sw_batch_size=3) if windowed else SimpleInferer()
        return stage(view=view, network=Echo2d(), inferer=inferer, earlier=earlier)

    @pytest.mark.parametrize("kind", SLICES)
    def test_a_network_sees_of_a_slice_what_it_saw_of_it_in_training(self, store, kind):
        made = self.made(SLICES[kind])
        case = store["case_00000"]
        label = torch.from_numpy(case.label[...])[None]
        dataset = ViewDataset(
            store, ["case_00000"], view=made.view, intensity=made.intensity, augment=None, labels=[1], seed=0
        )

        predict(made, torch.from_numpy(case.image[...])[None], label)

        seen = torch.cat(made.module.network.seen)
        for index in range(20):
            trained = dataset[SampleKey(0, index)]["image"]
            assert (seen == trained).flatten(1).all(dim=1).any()

    @pytest.mark.parametrize("kind", ["resized", "as stored"])
    def test_every_slice_is_predicted_in_batches_of_the_training_s_size(self, store, kind):
        made = self.made(SLICES[kind])
        image = torch.from_numpy(store["case_00000"].image[...])[None]

        predicted = predict(made, image, None)

        assert [len(batch) for batch in made.module.network.seen] == [2, 2, 2, 2]
        assert predicted.probabilities.shape == (2, *image.shape[1:])

    def test_slices_as_stored_come_back_to_where_they_were(self, store):
        image = torch.from_numpy(store["case_00000"].image[...])[None]

        for kind in ("as stored", "padded"):
            predicted = self.made(SLICES[kind]).predict(image, None)

            assert torch.allclose(predicted.probabilities[0], WINDOW(image.float()).sigmoid()[0])

    @pytest.mark.parametrize("kind", ["resized", "as stored"])
    def test_maps_of_a_slice_are_those_of_the_whole_volume_s_prediction(self, store, kind):
        made = self.made(SLICES[kind])
        image = store["case_00000"].image[...]

        maps = made.slice_maps(image, 3, made.module.infer)

        whole = predict(made, torch.from_numpy(image)[None], None).probabilities
        assert torch.equal(maps, whole[:, 3])

    def test_where_the_earlier_stage_found_nothing_nothing_is_predicted(self):
        made = self.made(SLICES["rois"], windowed=False)
        image = torch.zeros(1, 5, 16, 16, dtype=torch.int16)

        predicted = predict(made, image, torch.zeros_like(image, dtype=torch.uint8))

        assert made.module.network.seen == []
        assert not predicted.labels(made.module.output.decide).any()

    def test_squares_need_an_earlier_stage(self):
        with pytest.raises(InputError, match=r"SliceRoiView cuts squares .*, and this stage takes none: .*view=slices"):
            stage(view=SLICES["rois"], network=Echo2d())


class TestDimensions:
    @pytest.mark.parametrize(
        ("network", "dims"),
        [
            (nn.Conv3d(1, 2, 1), 3),
            (nn.Sequential(nn.Identity(), nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, 1)), 2),
            (nn.ConvTranspose3d(1, 2, 1), 3),
            (nn.ReLU(), None),
        ],
    )
    def test_a_network_s_are_those_of_its_convolutions(self, network, dims):
        assert spatial_dims_of(network) == dims

    def test_slices_for_a_network_of_volumes_are_refused_in_one_sentence(self):
        with pytest.raises(InputError, match=r"gives 2D samples \(SliceView\), .*takes 3D ones \(Conv3d\): .*2D model"):
            stage(view=SliceView(size=(8, 8), **EPOCH))

    def test_patches_for_a_network_of_slices_are_refused_in_one_sentence(self):
        with pytest.raises(InputError, match=r"gives 3D samples \(PatchView\), .*2D ones \(Conv2d\): .*view=slices"):
            stage(network=nn.Conv2d(1, 2, 1))

    def test_a_network_of_slices_judges_every_slice_of_a_batch(self):
        network, images = nn.Conv2d(1, 2, 1), torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        made = stage(
            view=SliceView(size=(8, 8), **EPOCH), network=network, inferer=SlidingWindowInferer(roi_size=(8, 8))
        )

        with torch.no_grad():
            torch.testing.assert_close(made.module.infer(images), network(images).sigmoid())

    def test_an_inferer_that_cuts_slices_is_refused_since_the_view_does(self):
        with pytest.raises(InputError, match=r"SliceInferer cuts volumes into slices, which the view has done already"):
            stage(
                view=SliceView(size=(8, 8), **EPOCH), network=nn.Conv2d(1, 2, 1), inferer=SliceInferer(roi_size=(8, 8))
            )


class TestFitting:
    def test_statistics_are_those_of_the_training_cases_and_travel_with_the_run(self, store, tmp_path):
        made = stage(intensity=NormalizeForeground(percentiles=(0.5, 99.5)))
        made.fit(store, ["case_00000"])
        made.save(tmp_path / "run")
        case = store["case_00000"]
        raw = case.image[...][case.label[...] > 0]

        loaded = stage(intensity=NormalizeForeground(percentiles=(0.5, 99.5)))
        loaded.restore(tmp_path / "run")

        assert loaded.intensity.statistics == made.intensity.statistics
        assert loaded.intensity.statistics.mean == pytest.approx(raw.mean())
        assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["intensity.json"]

    def test_the_size_of_the_box_travels_with_the_run(self, store, tmp_path):
        made = stage(view=RoiView(multiple=4, **EPOCH))
        made.fit(store, store.cases)
        made.save(tmp_path / "run")

        loaded = stage(view=RoiView(multiple=4, **EPOCH))
        loaded.restore(tmp_path / "run")

        assert tuple(made.view.roi_size) == (4, 8, 16)  # 4, 8 and 7, and 3, 2 and 14 voxels
        assert tuple(loaded.view.roi_size) == (4, 8, 16)
        assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["view.json"]

    def test_where_nothing_depends_on_the_cases_nothing_is_written_or_needed(self, store, tmp_path):
        made = stage()
        made.fit(store, store.cases)
        made.save(tmp_path / "run")
        made.restore(tmp_path / "run")

        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize("text", [None, "{"])
    def test_missing_statistics_are_refused_by_name(self, tmp_path, text):
        if text is not None:
            (tmp_path / "intensity.json").write_text(text)

        with pytest.raises(InputError, match=r"lacks a readable intensity\.json, .*: bring that file back, or train"):
            stage(intensity=NormalizeForeground(percentiles=(0.5, 99.5))).restore(tmp_path)


def test_quantized_views_give_whole_values():
    view = SliceView(size=(8, 8), quantize=True, **EPOCH)
    made = stage(
        view=view, network=nn.Conv2d(1, 2, 1), intensity=ScaleIntensityRange(-130, 410, 0, 255, clip=True),
        inferer=SlidingWindowInferer(roi_size=(8, 8)),
    )  # fmt: skip

    seen = made.intensity(torch.tensor([-500.0, -129.0, 140.0, 409.0]))

    assert seen.tolist() == [0.0, 0.0, 128.0, 255.0]  # 0.47, 127.5 and 254.5, halves to even


def test_quantized_views_give_grey_levels_of_whatever_range_the_intensities_have():
    intensity = ScaleIntensityRange(-130, 410, 0, 1, clip=True)
    made = stage(
        view=SliceView(size=(8, 8), quantize=True, **EPOCH), network=nn.Conv2d(1, 2, 1), intensity=intensity,
        inferer=SlidingWindowInferer(roi_size=(8, 8)),
    )  # fmt: skip

    seen = made.intensity(torch.tensor([-500.0, -129.0, 150.0, 300.0]))

    assert (255 * seen).tolist() == pytest.approx([0, 0, 132, 203])  # 132.2 and 203.06


def test_quantizing_leaves_the_statistics_within_reach():
    view = SliceView(size=(8, 8), quantize=True, **EPOCH)
    normalizer = NormalizeForeground(window=(0, 100))
    made = stage(
        view=view, network=nn.Conv2d(1, 2, 1), intensity=normalizer, inferer=SlidingWindowInferer(roi_size=(8, 8))
    )
    normalizer.statistics = IntensityStatistics(lower=0, upper=100, mean=10, std=4, n=1)

    assert made.intensity(torch.tensor([17.0])).tolist() == [2.0]
