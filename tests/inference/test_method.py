from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from monai.inferers import SimpleInferer, SlidingWindowInferer
from monai.losses import DiceCELoss
from monai.transforms import ScaleIntensityRange
from scipy.spatial.transform import Rotation
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import ConstantLR

from kidney_lab.data.nifti import read_grid, write_volume
from kidney_lab.data.prepare import GridRecipe, prepare_image
from kidney_lab.data.views import PatchView, RoiView, SliceRoiView, SliceView
from kidney_lab.errors import InputError
from kidney_lab.geometry import Grid, Volume, grid_from_spacing, reorient
from kidney_lab.inference import method as inference
from kidney_lab.inference import restore
from kidney_lab.inference.combine import LastStage, NestedRegions
from kidney_lab.inference.ensemble import Ensemble
from kidney_lab.inference.method import Segmentation, TrainedMethod
from kidney_lab.inference.postprocessing import PostProcessing
from kidney_lab.methods import sliding_window
from kidney_lab.methods.earlier import Earlier
from kidney_lab.methods.inference_settings import InferenceSettings
from kidney_lab.methods.output import RegionOutput, build_output
from kidney_lab.methods.stage import Stage
from kidney_lab.methods.supervised import SupervisedSegmentation
from kidney_lab.progress import listening
from kidney_lab.transforms import Augment

CPU = torch.device("cpu")
EPOCH = {"samples_per_epoch": 2, "val_samples": 2}
SHAPE, SPACING = (14, 30, 26), (2.5, 1.1, 1.1)


class Threshold(nn.Module):
    """A network that calls kidney what is above 100 HU, and tumor what is above 200 HU."""

    def __init__(self) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(1000.0))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.cat([image - 0.1, image - 0.2], dim=1) * self.sharpness


def stage(spacing=None, *, network=None) -> Stage:
    module = SupervisedSegmentation(
        network=network or Threshold(),
        loss=DiceCELoss(sigmoid=True),
        optimizer=partial(SGD, lr=0.1),
        scheduler=partial(ConstantLR, factor=1.0),
        output=build_output("regions", labels=["kidney", "tumor"], regions=["kidney_and_mass", "tumor"]),
    )
    return Stage(
        module=module,
        view=PatchView(roi_size=(8, 16, 16), samples_per_epoch=2, val_samples=2, foreground_fraction=0.5),
        augment=Augment(),
        intensity=ScaleIntensityRange(a_min=0, a_max=1000, b_min=0.0, b_max=1.0),
        inferer=SlidingWindowInferer(roi_size=(8, 16, 16), overlap=0.25),
        grid=GridRecipe(spacing=spacing, order=1),
        batch_size=1,
    )


def method(spacing=None, **settings) -> TrainedMethod:
    return TrainedMethod({"only": stage(spacing, **settings)}, device=CPU, precision="32-true")


def scan() -> np.ndarray:
    """A body with a kidney on one side alone and a tumor at its upper end, so that every flip shows."""
    d, h, w = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    image = np.full(SHAPE, -1000, np.int16)
    image[1:13, 3:27, 3:23] = 40
    image[((d - 6) * 2.5) ** 2 + ((h - 18) * 1.1) ** 2 + ((w - 8) * 1.1) ** 2 < 49] = 150
    image[2:5, 16:20, 6:10] = 250
    return image


def wanted() -> np.ndarray:
    return (scan() > 100).astype(np.uint8) + (scan() > 200)


def tilted(degrees: tuple[float, float, float]) -> Volume:
    grid = grid_from_spacing(SHAPE, SPACING)
    affine = grid.affine.copy()
    affine[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() @ affine[:3, :3]
    affine[:3, 3] = (20.5, -31.0, 417.0)
    return Volume(scan(), Grid(SHAPE, affine))


ORIENTATIONS = ["IPL", "RAS", "LPS", "LAS", "SAR", "PIR", "ASL", "RIP", "LIA", "PRS"]


def test_an_array_is_segmented_on_its_own_grid():
    labels = method().segment(scan(), SPACING)

    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, wanted())


@pytest.mark.parametrize("degrees", [(0, 0, 0), (9, -14, 20)], ids=["straight", "oblique"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_however_a_scan_is_stored_the_same_places_are_segmented(orientation, degrees):
    stored = reorient(tilted(degrees), tuple(orientation))

    segmented = method().segment_volume(stored)

    assert segmented.grid is stored.grid
    assert segmented.array.flags.c_contiguous
    np.testing.assert_array_equal(segmented.array, (stored.array > 100) * 1 + (stored.array > 200))
    np.testing.assert_array_equal(reorient(segmented).array, wanted())


@pytest.mark.parametrize("orientation", ORIENTATIONS[:8])
def test_resampling_does_not_depend_on_how_the_scan_is_stored_either(orientation):
    coarse = method((4.0, 1.7, 1.7))
    straight = coarse.segment_volume(tilted((0, 0, 0)))

    segmented = coarse.segment_volume(reorient(tilted((0, 0, 0)), tuple(orientation)))

    np.testing.assert_array_equal(reorient(segmented).array, straight.array)
    inside, truth = straight.array > 0, wanted() > 0
    assert 2 * (inside & truth).sum() / (inside.sum() + truth.sum()) > 0.85


@pytest.mark.parametrize("orientation", ["IPL", "RAS", "PIR"])
def test_a_file_is_segmented_along_its_own_axes(tmp_path, orientation):
    stored = reorient(tilted((4, 7, -11)), tuple(orientation))
    write_volume(tmp_path / "scan.nii.gz", stored)

    labels = method().segment_file(tmp_path / "scan.nii.gz")

    assert labels.shape == read_grid(tmp_path / "scan.nii.gz").shape
    np.testing.assert_array_equal(labels, (stored.array > 100) * 1 + (stored.array > 200))
    np.testing.assert_array_equal(labels, method().segment_file(str(tmp_path / "scan.nii.gz")))


def test_a_scan_in_floating_point_gives_what_its_rounded_values_give():
    noise = np.random.default_rng(0).uniform(-0.49, 0.49, SHAPE)

    np.testing.assert_array_equal(method().segment(scan() + noise, SPACING), method().segment(scan(), SPACING))


def test_a_scan_smaller_than_a_window_is_segmented():
    labels = method().segment(scan()[2:6, 14:22, 4:12], SPACING)

    np.testing.assert_array_equal(labels, wanted()[2:6, 14:22, 4:12])


def test_the_last_stage_decides():
    class Nothing(Threshold):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.cat([image, image], dim=1) * 0 - 10

    stages = {"first": stage(), "last": stage(network=Nothing())}

    assert not TrainedMethod(stages, device=CPU, precision="32-true").segment(scan(), SPACING).any()


def test_networks_predict_in_evaluation_mode_and_in_the_precision_of_the_training():
    seen = {}

    class Spy(Threshold):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            seen["training"] = self.training
            seen["product"] = (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
            return super().forward(image)

    spied = stage(network=Spy())
    spied.module.train()
    TrainedMethod({"only": spied}, device=CPU, precision="bf16-mixed").segment(scan(), SPACING)

    assert seen == {"training": False, "product": torch.bfloat16}


class Agreement(Threshold):
    """Calls only that what the earlier stage has called so as well."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        kidney = image[:, 1:].sum(dim=1, keepdim=True)
        return super().forward(image[:, :1]) - 1e6 * (1 - torch.cat([kidney, image[:, 2:]], dim=1))


def cascade(spacing=None, *, size=(14, 30, 26), network=None, **settings) -> dict[str, Stage]:
    """A stage on a grid of its own, and one in boxes about what it finds, which must agree with it."""
    view = RoiView(size=size, samples_per_epoch=2, val_samples=2)
    fine = replace(stage(network=network or Agreement()), view=view, earlier=Earlier("coarse", ["kidney", "tumor"]))
    return {"coarse": stage(spacing, **settings), "fine": fine}


def trained(stages, **settings) -> TrainedMethod:
    return TrainedMethod(stages, device=CPU, precision="32-true", **settings)


class TestCascade:
    def test_a_later_stage_sees_what_the_earlier_one_says(self):
        np.testing.assert_array_equal(trained(cascade()).segment(scan(), SPACING), wanted())

        class NoTumor(Threshold):
            def forward(self, image: torch.Tensor) -> torch.Tensor:
                return super().forward(image) * torch.tensor([1.0, 0.0]).view(1, 2, 1, 1, 1)

        without = trained(cascade(network=None) | {"coarse": stage(network=NoTumor())}).segment(scan(), SPACING)
        np.testing.assert_array_equal(without, (wanted() > 0) * np.uint8(1))

    @pytest.mark.parametrize("orientation", ORIENTATIONS[:6])
    def test_grids_of_their_own_fit_together_however_the_scan_is_stored(self, orientation):
        method = trained(cascade((3.0, 1.9, 1.7)))

        segmented = method.segment_volume(reorient(tilted((4, 7, -11)), tuple(orientation)))

        straight = method.segment_volume(tilted((4, 7, -11)))
        np.testing.assert_array_equal(reorient(segmented).array, straight.array)
        inside = straight.array > 0
        assert 2 * (inside & (wanted() > 0)).sum() / (inside.sum() + (wanted() > 0).sum()) > 0.85

    def test_outside_its_box_a_stage_says_nothing(self):
        class Everything(Threshold):
            def forward(self, image: torch.Tensor) -> torch.Tensor:
                return torch.ones_like(image[:, :2]) * torch.tensor([1.0, -1.0]).view(1, 2, 1, 1, 1)

        labels = trained(cascade(size=(12, 14, 14), network=Everything()), postprocessing=PostProcessing("all", False))

        found = np.argwhere(labels.segment(scan(), SPACING))
        assert (np.ptp(found, axis=0) + 1 == (12, 14, 14)).all()
        assert (found.min(axis=0) <= np.argwhere(wanted()).min(axis=0)).all()
        assert (found.max(axis=0) >= np.argwhere(wanted()).max(axis=0)).all()

    def test_stages_on_one_grid_share_the_prepared_scan(self, monkeypatch):
        made = []
        prepare = inference.prepare_image
        monkeypatch.setattr(inference, "prepare_image", lambda *given: made.append(given[1]) or prepare(*given))

        trained(cascade()).segment(scan(), SPACING)
        assert len(made) == 1
        trained(cascade((4.0, 2.0, 2.0))).segment(scan(), SPACING)
        assert len(made) == 3

    def test_an_earlier_stage_that_finds_nothing_leaves_the_whole_scan_to_the_later_one(self, caplog):
        class Nothing(Threshold):
            def forward(self, image: torch.Tensor) -> torch.Tensor:
                return torch.cat([image, image], dim=1) * 0 - 10

        class Alone(Threshold):
            def forward(self, image: torch.Tensor) -> torch.Tensor:
                return super().forward(image[:, :1])

        stages = cascade(size=(4, 4, 4), network=Alone()) | {"coarse": stage(network=Nothing())}

        np.testing.assert_array_equal(trained(stages).segment(scan(), SPACING), wanted())
        assert "the scan: the stage coarse found nothing" in caplog.text


class Counting(Threshold):
    """Counts the windows that it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.seen += len(image)
        return super().forward(image[:, :1])


class TestMemory:
    """What is held, and what is computed anew for want of it."""

    volume = Volume(scan(), grid_from_spacing(SHAPE, SPACING))

    def windows(self, stages, **settings) -> tuple[dict[str, int], Segmentation]:
        """Windows of each stage, and what they said."""
        method = trained(stages)
        told = method.segment_in_stages(self.volume, **settings)
        return {name: one.module.network.seen for name, one in method.stages.items()}, told

    def test_slabs_of_any_size_give_one_label_map(self, monkeypatch):
        usual = method((3.0, 1.9, 1.7)).segment(scan(), SPACING)

        for slab in (1, 5):
            monkeypatch.setattr(restore, "SLAB", slab)
            monkeypatch.setattr(sliding_window, "SLAB", slab)
            np.testing.assert_array_equal(method((3.0, 1.9, 1.7)).segment(scan(), SPACING), usual)

    @pytest.mark.parametrize("keep", [True, False])
    def test_every_window_is_run_once_for_the_label_map(self, keep):
        stages = {name: stage(network=Counting()) for name in ("first", "only")}

        windows, told = self.windows(stages, keep=keep)

        assert windows == {"first": 0, "only": 2 * 2 * 2}
        np.testing.assert_array_equal(told.labels.array, wanted())

    @pytest.mark.parametrize(("keep", "passes"), [(True, 1), (False, 2)])
    def test_a_stage_that_was_asked_before_is_computed_anew_unless_it_was_kept(self, keep, passes):
        stages = cascade(network=Counting()) | {"coarse": stage(network=Counting())}
        windows, told = self.windows(stages, keep=keep)

        np.testing.assert_array_equal(told.earlier["coarse"]().array, wanted())

        assert stages["coarse"].module.network.seen == passes * windows["coarse"]

    @pytest.mark.parametrize(("gib", "passes"), [(1.0, 1), (0.0, 2)])
    def test_a_stage_that_a_later_one_and_the_result_ask_for_is_held_within_the_memory(self, gib, passes):
        stages = cascade(network=Counting()) | {"coarse": stage(network=Counting())}
        nested = NestedRegions({"kidney_and_mass": "coarse", "tumor": "fine"})

        for asked, once in ((LastStage(), True), (nested, passes == 1)):
            method = trained(stages, combination=asked, settings=InferenceSettings(memory_gib=gib))
            before = stages["coarse"].module.network.seen
            method.segment(scan(), SPACING)
            seen = stages["coarse"].module.network.seen - before
            assert seen == (8 if once else 16)

    def test_whoever_observes_is_shown_the_probabilities_of_the_label_map(self):
        shown = []

        method().segment_in_stages(self.volume, observe=lambda part, slab: shown.append((part, slab)))

        found = np.zeros(SHAPE, np.uint8)
        crop = prepare_image(self.volume, GridRecipe()).crop
        for part, slab in shown:
            found[part, crop[1], crop[2]] = (slab[0] > 0.5).numpy() * 1 + (slab[1] > 0.5).numpy()
        np.testing.assert_array_equal(found, wanted())


class TestSettings:
    def test_a_method_looks_at_mirror_images_where_it_is_told_to(self):
        class LeftHalf(Threshold):
            """Sees a kidney in the first columns of whatever it is shown, and is sure of nothing else."""

            def forward(self, image: torch.Tensor) -> torch.Tensor:
                half = torch.arange(image.shape[-1]) < image.shape[-1] // 4
                return super().forward(image) * half

        plain = trained({"only": stage(network=LeftHalf())}).segment(scan(), SPACING)
        both = TrainedMethod(
            {"only": stage(network=LeftHalf())},
            device=CPU,
            precision="32-true",
            settings=InferenceSettings(mirror_axes=[2]),
        ).segment(scan(), SPACING)

        assert (both > 0).sum() > (plain > 0).sum()

    def test_its_precision_is_the_training_s_or_the_one_that_is_wished_for(self):
        def made(**settings) -> str:
            return TrainedMethod(
                {"only": stage()}, device=CPU, precision="32-true", settings=InferenceSettings(**settings)
            ).precision

        assert (made(), made(precision="bf16-mixed")) == ("32-true", "bf16-mixed")

    def test_stages_tell_their_names_while_they_compute(self):
        told = []

        with listening(lambda name, done, total: told.append((name, done == total))):
            trained(cascade()).segment(scan(), SPACING)

        assert list(dict.fromkeys(name for name, _ in told)) == ["coarse", "fine"]
        assert told[-1] == ("fine", True)


def test_a_stage_that_nobody_asks_is_not_computed_until_it_is_asked(monkeypatch):
    asked, predict = [], inference.predict_stage
    monkeypatch.setattr(
        inference, "predict_stage", lambda stage, *a, **k: asked.append(stage) or predict(stage, *a, **k)
    )
    stages = {"detector": stage(), "refit": stage()}

    told = trained(stages).segment_in_stages(Volume(scan(), grid_from_spacing(SHAPE, SPACING)))

    assert asked == [stages["refit"]]
    np.testing.assert_array_equal(told.earlier["detector"]().array, wanted())
    assert asked == [stages["refit"], stages["detector"]]


def test_what_each_stage_said_and_what_post_processing_changed_are_told():
    image = scan()
    image[1:3, 22:26, 18:22] = 250  # a tumor far from the kidney, which is dropped

    told = trained(cascade()).segment_in_stages(Volume(image, grid_from_spacing(SHAPE, SPACING)))

    assert told.unprocessed.array[1, 23, 19] == 0  # too small to be handed on as a second kidney
    alone = method().segment_in_stages(Volume(image, grid_from_spacing(SHAPE, SPACING)))
    assert (alone.unprocessed.array[1, 23, 19], alone.labels.array[1, 23, 19]) == (2, 0)
    np.testing.assert_array_equal(alone.labels.array, wanted())
    assert dict(alone.earlier) == {}
    assert list(told.earlier) == ["coarse"]
    np.testing.assert_array_equal(told.earlier["coarse"]().array, wanted())
    assert told.earlier["coarse"]().grid is told.labels.grid


class TestBinaryStages:
    """Three networks on slices, one for each region; the later ones look at squares about what was found before."""

    def stages(self, coarse=None) -> dict[str, Stage]:
        def made(regions, threshold, source=None, region=None) -> Stage:
            view = SliceView(size=(32, 32), **EPOCH)
            if source is not None:
                view = SliceRoiView(size=(32, 32), region=region, min_pixels=4, min_margin=4, **EPOCH)
            module = SupervisedSegmentation(
                network=Above(*threshold),
                loss=DiceCELoss(sigmoid=True),
                optimizer=partial(SGD, lr=0.1),
                scheduler=partial(ConstantLR, factor=1.0),
                output=RegionOutput(labels=["kidney", "tumor", "cyst"], regions=regions),
            )
            return replace(
                stage(),
                module=module,
                view=view,
                inferer=SimpleInferer(),
                earlier=None if source is None else Earlier(source, [], prior="none"),
            )

        return {
            "coarse": made(["kidney_and_mass", "mass"], coarse or (0.1, 0.2)),
            "kidney": made(["kidney_and_mass"], (0.1,), "coarse", "kidney_and_mass"),
            "mass": made(["mass"], (0.2,), "coarse", "mass"),
            "tumor": made(["tumor"], (0.3,), "mass", "mass"),
        }

    def method(self, nesting="union", **settings) -> TrainedMethod:
        regions = {"kidney_and_mass": "kidney", "mass": "mass", "tumor": "tumor"}
        return trained(self.stages(**settings), combination=NestedRegions(regions, nesting))

    def test_their_regions_lie_in_each_other_and_a_mass_that_is_no_tumor_is_a_cyst(self):
        image = scan()
        image[7:10, 16:21, 6:11] = 350  # a tumor; the mass above is a cyst now

        labels = self.method().segment(image, SPACING)

        wanted = (image > 100) * 1 + (image > 200) * 2 - (image > 300)
        for value in (1, 2, 3):
            inside, truth = labels == value, wanted == value
            assert 2 * (inside & truth).sum() / (inside.sum() + truth.sum()) > 0.75

    @pytest.mark.parametrize("nesting", ["union", "intersection"])
    def test_where_the_coarse_stage_finds_nothing_there_is_nothing_and_nothing_is_searched(self, nesting, caplog):
        assert not self.method(nesting, coarse=(9.0, 9.0)).segment(scan(), SPACING).any()
        assert "searches the whole scan" not in caplog.text

    def test_where_it_finds_no_mass_the_kidney_is_still_found(self):
        labels = self.method(coarse=(0.1, 9.0)).segment(scan(), SPACING)

        assert set(np.unique(labels)) == {0, 1}

    def test_all_of_them_are_told_and_those_without_kidneys_as_they_are(self):
        told = self.method().segment_in_stages(tilted((0, 0, 0)))

        assert list(told.earlier) == ["coarse", "kidney", "mass", "tumor"]
        mass = told.earlier["mass"]().array
        np.testing.assert_array_equal(mass > 0, np.isin(told.unprocessed.array, (2, 3)))
        assert not told.earlier["tumor"]().array.any()


class Shifted(Threshold):
    """Says a kidney with a probability that rises around another value, HU."""

    def __init__(self, middle: float) -> None:
        super().__init__()
        self.middle = middle

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.cat([image - self.middle / 1000, image - 9], dim=1) * 20


class TestMembers:
    """Methods that are members of another's ensemble."""

    def members(self, *middles, spacing=None, **settings) -> dict[str, TrainedMethod]:
        return {str(n): trained({"only": stage(spacing, network=Shifted(m))}) for n, m in enumerate(middles, start=1)}

    def test_one_member_gives_its_own_result_bit_for_bit(self):
        alone = trained(cascade((3.0, 1.9, 1.7)))

        ensemble = trained({}, members={"1": alone}, combination=Ensemble())

        assert ensemble.output is alone.stages["fine"].module.output
        expected = alone.segment_in_stages(tilted((4, 7, -11)))
        found = ensemble.segment_in_stages(tilted((4, 7, -11)))
        np.testing.assert_array_equal(found.labels.array, expected.labels.array)
        np.testing.assert_array_equal(found.unprocessed.array, expected.unprocessed.array)

    @pytest.mark.parametrize("orientation", ["IPL", "RAS", "PIR"])
    def test_members_on_grids_of_their_own_meet_on_the_scan(self, orientation):
        stored = reorient(tilted((4, 7, -11)), tuple(orientation))
        stages = {"a": stage(network=Shifted(50.0)), "b": stage((3.0, 1.9, 1.7), network=Shifted(150.0))}
        coarse = trained({"only": stage((4.0, 2.3, 2.3), network=Shifted(100.0))})

        method = trained(
            stages, members={"1": coarse}, combination=Ensemble(), postprocessing=PostProcessing("all", False)
        )
        found = method.segment_in_stages(stored)

        middle = trained({"only": stage(network=Shifted(100.0))}, postprocessing=PostProcessing("all", False))
        inside, truth = found.labels.array > 0, middle.segment_volume(stored).array > 0
        assert found.labels.grid is stored.grid
        assert 2 * (inside & truth).sum() / (inside.sum() + truth.sum()) > 0.9
        assert list(found.earlier) == ["a", "b"]
        assert list(found.members) == ["1"]
        np.testing.assert_array_equal(found.members["1"]().array, coarse.segment_volume(stored).array)

    def test_a_member_s_label_map_is_post_processed_as_it_does_itself_and_its_share_is_not(self):
        image = scan()
        image[1:3, 22:26, 18:22] = 250  # a tumor far from the kidney, which is dropped
        volume = Volume(image, grid_from_spacing(SHAPE, SPACING))
        clean, raw = method(), trained({"only": stage()}, postprocessing=PostProcessing("all", False))

        told = trained(
            {}, members={"1": clean, "2": raw}, combination=Ensemble(), postprocessing=PostProcessing("all", False)
        ).segment_in_stages(volume)

        assert [told.members[name]().array[1, 23, 19] for name in ("1", "2")] == [0, 2]
        assert told.labels.array[1, 23, 19] == 2

    def test_stages_of_all_members_share_the_prepared_scan(self, monkeypatch):
        made = []
        prepare = inference.prepare_image
        monkeypatch.setattr(inference, "prepare_image", lambda *given: made.append(given[1]) or prepare(*given))

        trained({"own": stage()}, members=self.members(50.0, 150.0), combination=Ensemble()).segment(scan(), SPACING)

        assert len(made) == 1

    def test_an_ensemble_may_be_a_member(self):
        inner = trained({}, members=self.members(0.0, 100.0), combination=Ensemble())
        outer = trained(
            {"own": stage(network=Shifted(50.0))}, members={"1": inner}, combination=Ensemble(weights=[1, 2])
        )
        flat = trained({}, members=self.members(50.0, 0.0, 100.0), combination=Ensemble())

        assert list(outer.networks) == ["own", "1/1/only", "1/2/only"]
        np.testing.assert_array_equal(outer.segment(scan(), SPACING), flat.segment(scan(), SPACING))

    def test_regions_that_lie_in_each_other_and_labels_meet(self):
        nested, doubting = TestBinaryStages().method(), stage()
        doubting.module.output = build_output("labels", labels=["kidney"], regions=["kidney_and_mass"])

        keep = PostProcessing("all", False)
        method = trained(
            {"labels": doubting}, members={"1": nested}, combination=Ensemble(weights=[2, 1]), postprocessing=keep
        )
        found, own = (told.segment(scan(), SPACING) for told in (method, nested))

        assert method.output.regions == ("kidney_and_mass", "mass", "tumor")
        assert set(np.unique(own)) == {0, 1, 3}
        # masses are known to the one member alone; the other is sure that there are no kidneys, and counts twice
        np.testing.assert_array_equal(found, np.where(own == 3, own, 0))

    def test_a_combination_that_does_not_work_on_them_is_refused(self):
        with pytest.raises(InputError, match="has 2 numbers for 1 member"):
            trained({"own": stage()}, combination=Ensemble(weights=[1, 2]))


class Above(nn.Module):
    """A network of slices whose channels say where the image is above one value each."""

    def __init__(self, *thresholds: float) -> None:
        super().__init__()
        self.sharpness = nn.Conv2d(1, 1, 1)
        self.thresholds = thresholds

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return 1000 * torch.cat([image - threshold for threshold in self.thresholds], dim=1)
