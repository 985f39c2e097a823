import numpy as np
import pytest
import torch

from kidney_lab.data.nifti import read_grid, write_volume
from kidney_lab.data.prepare import GridRecipe, prepare_image
from kidney_lab.geometry import Volume, grid_from_spacing, reorient
from kidney_lab.inference import method as inference
from kidney_lab.inference import restore
from kidney_lab.inference.combine import LastStage, NestedRegions
from kidney_lab.inference.method import Segmentation, TrainedMethod
from kidney_lab.inference.postprocessing import PostProcessing
from kidney_lab.methods import sliding_window
from kidney_lab.methods.inference_settings import InferenceSettings
from kidney_lab.progress import listening
from tests.support.threshold_methods import (
    CPU,
    SHAPE,
    SPACING,
    Threshold,
    cascade,
    method,
    scan,
    stage,
    tilted,
    trained,
    wanted,
)

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
