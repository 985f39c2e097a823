import numpy as np
import pytest
import torch
from monai.transforms import Compose, RandGaussianNoised, ScaleIntensityRange

from kidney_lab.data.priors import Priors
from kidney_lab.data.sampling import SampleKey
from kidney_lab.data.views import RoiView, ViewDataset, WholeCaseDataset
from kidney_lab.data.views.prior_input import PriorInput, one_hot
from kidney_lab.data.views.roi_boxes import roi_boxes
from kidney_lab.transforms import Augment, RandCorruptPriord, RandSpatiald

CASES = ["case_00000", "case_00001"]
INTENSITY = ScaleIntensityRange(a_min=-1000, a_max=1000, b_min=-1.0, b_max=1.0, clip=True)
VIEW = RoiView(size=(8, 10, 10), patch_size=(5, 6, 6), foreground_fraction=0.5, samples_per_epoch=8, val_samples=2)


@pytest.fixture
def priors(store, tmp_path) -> Priors:
    """Predictions that tell every place and both cases apart from each other and from the reference."""
    made = Priors(tmp_path / "priors")
    rng = np.random.default_rng(1)
    for case in store.cases:
        made.write(case, rng.integers(0, 3, store[case].shape).astype(np.uint8))
    return made


def dataset(store, prior, *, augment=None, cases=CASES, view=VIEW) -> ViewDataset:
    return ViewDataset(
        store, cases, view=view, intensity=INTENSITY, augment=augment, labels=[1, 2], seed=3, prior=prior
    )  # fmt: skip


def augmentation(device="cpu") -> Augment:
    spatial = RandSpatiald(rotate_prob=0.5, rotate_range=0.5, scale_prob=0.5, scale_range=(0.7, 1.4), flip_prob=0.5)
    return Augment(spatial, Compose([RandGaussianNoised(keys="image", prob=0.7, std=0.1)]), device)


def hounsfield(image: torch.Tensor) -> np.ndarray:
    return np.rint(image.numpy() * 1000).astype(int)


def place_of(image: torch.Tensor, case) -> tuple[slice, ...]:
    """Where in a volume of distinct noise, padded by 8 voxels of air, a patch lies."""
    padded = np.pad(case.image[...], 8, constant_values=-1000)
    windows = np.lib.stride_tricks.sliding_window_view(padded, image.shape)
    (corner,) = np.argwhere((windows == hounsfield(image)).all(axis=(3, 4, 5)))
    return tuple(slice(c, c + n) for c, n in zip(corner, image.shape, strict=True))


def test_one_hot_channels_are_one_where_the_label_is():
    label = torch.tensor([[0, 1], [3, 1]], dtype=torch.uint8)[None]

    channels = one_hot(label, [1, 3])

    assert channels.dtype == torch.float32
    assert channels.tolist() == [[[0, 1], [0, 1]], [[0, 0], [1, 0]]]


class TestChannels:
    @pytest.mark.parametrize("reference", [False, True])
    def test_they_show_the_labels_of_the_very_place_that_the_image_shows(self, store, priors, reference):
        case = store[CASES[0]]
        shown = case.label[...] if reference else priors[CASES[0]].label[...]
        padded = np.pad(shown, 8)
        drawn = dataset(store, PriorInput(priors, labels=[1, 2], reference=reference), cases=CASES[:1])
        for index in range(6):
            sample = drawn[SampleKey(0, index)]
            place = place_of(sample["image"][0], case)

            assert set(sample) == {"image", "label", "case"}
            assert sample["image"].shape == (3, 5, 6, 6)
            for channel, value in enumerate([1, 2], start=1):
                np.testing.assert_array_equal(sample["image"][channel], padded[place] == value)
            np.testing.assert_array_equal(sample["label"][0], np.pad(case.label[...], 8)[place])

    def test_without_labels_there_are_none(self, store, priors):
        sample = dataset(store, PriorInput(priors, labels=[]))[SampleKey(0, 0)]

        assert sample["image"].shape == (1, 5, 6, 6)

    def test_the_reference_needs_no_predictions(self, store):
        sample = dataset(store, PriorInput(None, labels=[1, 2], reference=True))[SampleKey(0, 0)]

        assert sample["image"].shape == (3, 5, 6, 6)

    @pytest.mark.parametrize("settings", [{"labels": [1]}, {"places": True}, {"places": True, "reference": True}])
    def test_predictions_that_are_needed_must_be_there(self, settings):
        with pytest.raises(ValueError, match="samples need priors that are not there"):
            PriorInput(None, **settings)

    def test_another_prediction_changes_these_channels_and_nothing_else(self, store, priors, tmp_path):
        others = Priors(tmp_path / "others")
        for case in CASES:
            others.write(case, np.roll(priors[case].label[...], 1, axis=0))
        one, other = (dataset(store, PriorInput(p, labels=[1, 2])) for p in (priors, others))
        for index in range(4):
            a, b = one[SampleKey(0, index)], other[SampleKey(0, index)]
            assert torch.equal(a["image"][0], b["image"][0])
            assert torch.equal(a["label"], b["label"])
            assert not torch.equal(a["image"][1:], b["image"][1:])

    @pytest.mark.parametrize("corrupted", [False, True])
    def test_augmented_they_stay_in_step_with_the_image_here_and_on_the_device(self, store, priors, corrupted):
        corrupt = RandCorruptPriord(morphology_prob=1.0, component_prob=1.0) if corrupted else None
        prior = PriorInput(priors, labels=[1, 2], corrupt=corrupt)
        here, there = (dataset(store, prior, augment=augmentation(device)) for device in ("cpu", "gpu"))
        keys = [SampleKey(2, index) for index in range(6)]
        sent = [there[key] for key in keys]
        for key, raw in zip(keys, sent, strict=True):
            expected, finished = here[key], there.finish_again(raw)
            assert raw["prior"].dtype == torch.uint8
            assert finished["image"].shape == (3, 5, 6, 6)
            assert torch.equal(finished["image"], expected["image"])
            assert torch.equal(finished["label"], expected["label"])
            assert set(finished["image"][1:].unique().tolist()) <= {0.0, 1.0}

    def test_where_the_prior_is_the_reference_augmentation_moves_both_alike(self, store):
        drawn = dataset(store, PriorInput(None, labels=[1, 2], reference=True), augment=augmentation())
        for index in range(8):
            sample = drawn[SampleKey(0, index)]
            assert torch.equal(sample["image"][1:], one_hot(sample["label"], [1, 2]))

    def test_corruption_changes_the_prior_of_a_sample_always_alike_and_never_its_reference(self, store):
        corrupt = RandCorruptPriord(morphology_prob=1.0, component_prob=0.0, label_prob=1.0, radius_range=(1.0, 2.0))
        clean, dirty = (
            dataset(store, PriorInput(None, labels=[1, 2], reference=True, corrupt=c)) for c in (None, corrupt)
        )
        changed = 0
        for index in range(12):
            key = SampleKey(0, index)
            a, b = clean[key], dirty[key]
            assert torch.equal(a["image"][0], b["image"][0])
            assert torch.equal(a["label"], b["label"])
            assert torch.equal(b["image"], dirty[key]["image"])
            changed += not torch.equal(a["image"], b["image"])
        assert changed > 3


class TestPlaces:
    """The reference fills `[2:8, 3:12, 4:12]` and the voxel (0, 13, 15); what is predicted lies elsewhere."""

    @pytest.fixture
    def elsewhere(self, store, tmp_path) -> Priors:
        made = Priors(tmp_path / "elsewhere")
        label = np.zeros(store[CASES[0]].shape, np.uint8)
        label[6:10, 0:4, 10:16] = 1
        made.write(CASES[0], label)
        made.write(CASES[1], np.zeros_like(label))
        return made

    def corners(self, store, prior, *, case=CASES[0], jitter=0.0, number=40) -> set[tuple[int, ...]]:
        view = RoiView(size=(4, 4, 6), samples_per_epoch=8, val_samples=2, jitter_mm=jitter)
        drawn = dataset(store, prior, cases=[case], view=view)
        places = [place_of(drawn[SampleKey(0, index)]["image"][0], store[case]) for index in range(number)]
        return {tuple(axis.start - 8 for axis in place) for place in places}

    def test_boxes_lie_about_what_was_predicted(self, store, elsewhere):
        assert self.corners(store, PriorInput(elsewhere, places=True)) == {(6, 0, 10)}

    def test_boxes_about_predictions_are_not_moved(self, store, elsewhere):
        assert self.corners(store, PriorInput(elsewhere, places=True), jitter=3.0) == {(6, 0, 10)}

    def test_otherwise_they_lie_about_the_reference_and_move(self, store, elsewhere):
        boxes = {tuple(axis.start for axis in box) for box in roi_boxes(store[CASES[0]].label[...], (4, 4, 6))}
        prior = PriorInput(elsewhere, labels=[1])

        assert self.corners(store, prior, number=100) == boxes
        moved = self.corners(store, prior, jitter=2.0)
        assert len(moved) > len(boxes) == 12  # the kidney is [2:8, 3:12, 4:12]
        for corner in moved:
            assert any((np.abs(np.subtract(corner, box)) <= [1, 2, 2]).all() for box in boxes)  # 2 mm are 1 voxel of D

    def test_where_nothing_was_predicted_they_lie_anywhere(self, store, elsewhere):
        assert len(self.corners(store, PriorInput(elsewhere, places=True), case=CASES[1])) > 20


def test_whole_cases_come_with_what_was_predicted(store, priors):
    item = WholeCaseDataset(store, CASES, priors=priors)[1]

    assert item["image"].shape[0] == 1  # the stage itself joins the channels
    np.testing.assert_array_equal(item["prior"][0], priors[CASES[1]].label[...])
