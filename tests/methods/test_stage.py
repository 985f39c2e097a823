from functools import partial

import numpy as np
import pytest
import torch
from monai.inferers import SliceInferer, SlidingWindowInferer
from monai.losses import DiceCELoss
from monai.transforms import Compose, NormalizeIntensity, ScaleIntensityRange
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import ConstantLR

from kidney_lab.data.prepare import GridRecipe
from kidney_lab.data.statistics import IntensityStatistics
from kidney_lab.data.store import Cost, Store
from kidney_lab.data.store_writer import CaseRecord, create_store, write_case
from kidney_lab.data.views import PatchView, RoiView, SliceView
from kidney_lab.errors import InputError
from kidney_lab.geometry import grid_from_spacing
from kidney_lab.methods.output import build_output
from kidney_lab.methods.stage import Stage, spatial_dims_of
from kidney_lab.methods.supervised import SupervisedSegmentation
from kidney_lab.transforms.augment import Augment
from kidney_lab.transforms.normalize import NormalizeForeground

EPOCH = {"samples_per_epoch": 2, "val_samples": 2}
PATCHES = PatchView(roi_size=(4, 4, 4), foreground_fraction=0.5, **EPOCH)
WINDOW = ScaleIntensityRange(a_min=-79, a_max=304, b_min=-1.0, b_max=1.0, clip=True)


def stage(*, view=PATCHES, intensity=WINDOW, inferer=None, network=None) -> Stage:
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
    def test_the_inferer_pads_with_what_the_network_sees_of_air(self, intensity, air):
        assert stage(intensity=intensity).inferer.cval == pytest.approx(air)

    def test_where_the_statistics_decide_it_is_known_once_they_are(self, store):
        made = stage(intensity=NormalizeForeground(window=(-150, 250)))

        made.fit(store, store.cases)

        s = made.intensity.statistics
        assert made.inferer.cval == pytest.approx((-150 - s.mean) / s.std)

    def test_a_scan_thinner_than_a_window_is_padded_with_it(self):
        class Echo(nn.Module):
            def forward(self, image: Tensor) -> Tensor:
                self.seen = image
                return torch.cat([image, image], dim=1)

        network = Echo()
        made = stage(network=network, intensity=ScaleIntensityRange(-130, 410, 0, 255, clip=True))
        made.module.infer(torch.full((1, 1, 2, 4, 4), 77.0))

        assert set(network.seen.unique().tolist()) == {0.0, 77.0}


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

    def test_slices_for_a_network_of_slices_are_taken(self):
        made = stage(
            view=SliceView(size=(8, 8), **EPOCH), network=nn.Conv2d(1, 2, 1), inferer=SliceInferer(roi_size=(8, 8))
        )

        assert made.module.infer(torch.zeros(1, 1, 3, 8, 8)).shape == (1, 2, 3, 8, 8)


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
        assert loaded.inferer.cval == made.inferer.cval
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
        inferer=SliceInferer(roi_size=(8, 8)),
    )  # fmt: skip

    seen = made.intensity(torch.tensor([-500.0, -129.0, 140.0, 409.0]))

    assert seen.tolist() == [0.0, 0.0, 128.0, 255.0]  # 0.47, 127.5 and 254.5, halves to even


def test_quantizing_leaves_the_statistics_within_reach():
    view = SliceView(size=(8, 8), quantize=True, **EPOCH)
    normalizer = NormalizeForeground(window=(0, 100))
    made = stage(view=view, network=nn.Conv2d(1, 2, 1), intensity=normalizer, inferer=SliceInferer(roi_size=(8, 8)))
    normalizer.statistics = IntensityStatistics(lower=0, upper=100, mean=10, std=4, n=1)

    assert made.intensity(torch.tensor([17.0])).tolist() == [2.0]
