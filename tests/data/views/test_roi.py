import logging
from dataclasses import dataclass, field

import numpy as np
import pytest

from kidney_lab.data.body import Box
from kidney_lab.data.foreground import foreground_box
from kidney_lab.data.kits import find_cases
from kidney_lab.data.nifti import read_volume
from kidney_lab.data.prepare import GridRecipe, prepare_store
from kidney_lab.data.priors import Priors
from kidney_lab.data.split_files.load import read_split
from kidney_lab.data.store import Store
from kidney_lab.data.store_writer import create_store
from kidney_lab.data.views import RoiView
from kidney_lab.data.views.roi import covering_size, jitter_voxels
from kidney_lab.data.views.roi_boxes import roi_boxes
from kidney_lab.errors import InputError
from kidney_lab.geometry import Spacing, Triple, reorient

LABELS = [1, 2, 3]
TARGETS = {  # box of the labels, in volumes of (16, 30, 30) voxels of 2, 1, 1 mm
    "case_00000": (slice(2, 9), slice(4, 11), slice(6, 17)),  # 7, 7, 11
    "case_00001": (slice(10, 12), slice(12, 28), slice(0, 10)),  # 2, 16, 10
    "case_00002": None,
}


@dataclass(eq=False)
class Predicted:
    """What an earlier stage predicted."""

    foreground_box: Box | None
    label: np.ndarray = field(default_factory=lambda: np.zeros((16, 30, 30), np.uint8))


@pytest.fixture
def targets(tmp_path, add_case) -> Store:
    create_store(tmp_path, {})
    for name, box in TARGETS.items():
        label = np.zeros((16, 30, 30), np.uint8)
        if box is not None:  # two opposite corners span it
            label[tuple(s.start for s in box)] = 1
            label[tuple(s.stop - 1 for s in box)] = 2
        image = np.random.default_rng(len(name)).integers(-900, 900, label.shape).astype(np.int16)
        add_case(tmp_path, name, image=image, label=label)
    return Store(tmp_path)


def view(**settings) -> RoiView:
    return RoiView(samples_per_epoch=6, val_samples=2, **settings)


@pytest.mark.parametrize(
    ("margin", "multiple", "size"),
    [(0, 1, (7, 16, 11)), (0, 8, (8, 16, 16)), (3, 1, (11, 22, 17)), (3, 16, (16, 32, 32))],
)
def test_the_size_covers_every_case_and_its_margin_and_is_a_multiple(targets, margin, multiple, size):
    cases = [targets[name] for name in TARGETS]

    assert covering_size(cases, margin_mm=margin, multiple=multiple) == size


def test_a_fitted_view_s_box_holds_every_label_of_every_training_case(targets):
    roi = view(multiple=1).fitted(targets, list(TARGETS))

    assert roi.roi_size == (7, 16, 11)
    for name in ("case_00000", "case_00001"):
        case = targets[name]
        corner = roi.draw(case, np.random.default_rng(0), LABELS)
        _, label = roi.read(case, [case.label], corner, roi.roi_size)
        assert label.shape == (1, 7, 16, 11)
        assert sorted(label[label > 0]) == [1, 2]


def test_only_the_training_cases_make_the_size(targets):
    assert view(multiple=1).fitted(targets, ["case_00000"]).roi_size == (7, 7, 11)


@pytest.mark.parametrize(
    ("case", "size", "corner"),
    [
        ("case_00000", (9, 9, 11), (1, 3, 6)),
        ("case_00001", (14, 16, 30), (2, 12, 0)),  # its middle is [4:18, 12:28, -10:20]
        ("case_00001", (20, 16, 11), (0, 12, 0)),  # [1:21, …] is larger than the volume: keeps covering it
    ],
)
def test_the_box_is_centred_on_the_labels_and_moved_into_the_volume(targets, case, size, corner):
    assert view(size=size).draw(targets[case], np.random.default_rng(0), LABELS) == corner
    assert [tuple(axis.start for axis in box) for box in roi_boxes(targets[case].label[...], size)] == [corner]


def test_a_given_size_is_kept_and_one_too_small_is_told(targets, caplog):
    with caplog.at_level(logging.WARNING):
        kept = view(size=[8, 16, 11], multiple=1).fitted(targets, list(TARGETS))
        assert not caplog.records
        small = view(size=[8, 12, 12], multiple=1).fitted(targets, list(TARGETS))

        exact = view(size=[7, 16, 11], multiple=32).fitted(targets, list(TARGETS))
        assert len(caplog.records) == 1

    assert exact.roi_size == [7, 16, 11]
    assert (kept.roi_size, small.roi_size) == ([8, 16, 11], [8, 12, 12])
    assert "view.size=[8, 12, 12] is less than the (7, 16, 11)" in caplog.text


def test_patches_lie_inside_the_box(targets):
    roi = view(size=[8, 16, 12], patch_size=[4, 16, 10])
    rng = np.random.default_rng(0)

    drawn = {roi.draw(targets["case_00000"], rng, LABELS) for _ in range(300)}

    assert drawn == {(d, 0, w) for d in range(1, 6) for w in range(5, 8)}  # of [1:9, 0:16, 5:17]
    assert roi.roi_size == [4, 16, 10]


def test_foreground_patches_hold_a_label_and_stay_in_the_box(targets):
    roi = view(size=[8, 16, 12], patch_size=[3, 4, 5], foreground_fraction=1.0, label_weights={"tumor": 1})
    rng = np.random.default_rng(0)
    case = targets["case_00000"]

    for _ in range(20):
        corner = roi.draw(case, rng, LABELS)
        _, label = roi.read(case, [case.label], corner, roi.roi_size)
        assert 2 in label
        (box,) = roi_boxes(case.label[...], [8, 16, 12])
        assert all(axis.start <= c <= axis.stop - n for axis, c, n in zip(box, corner, roi.roi_size, strict=True))


def test_a_patch_larger_than_the_box_still_covers_it(targets):
    roi = view(size=[7, 8, 11], patch_size=[9, 10, 14], foreground_fraction=0.5)
    rng = np.random.default_rng(0)
    (box,) = roi_boxes(targets["case_00000"].label[...], [7, 8, 11])

    for _ in range(50):
        corner = roi.draw(targets["case_00000"], rng, LABELS)
        for axis, c, n in zip(box, corner, roi.roi_size, strict=True):
            assert c <= axis.start
            assert axis.stop <= c + n


def test_without_labels_in_any_training_case_there_is_no_box(targets):
    with pytest.raises(InputError, match=r"None of the 1 training cases has labels, .*set view\.size=\[D,H,W\]"):
        view().fitted(targets, ["case_00002"])


def test_a_view_that_is_not_fitted_says_so(targets):
    with pytest.raises(InputError, match=r"view\.size=null is found when a stage is fitted"):
        view().draw(targets["case_00000"], np.random.default_rng(0), LABELS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": [8, 8]}, r"view\.size=\[8, 8\] is no size: give 3 whole numbers above 0"),
        ({"patch_size": [0, 8, 8]}, r"view\.patch_size=\[0, 8, 8\] is no size"),
        ({"foreground_fraction": 2}, r"view\.foreground_fraction=2 is no share: give a number from 0 to 1"),
        ({"multiple": 0}, r"view\.multiple=0 is no count: give a whole number of at least 1"),
        ({"multiple": 1.5}, r"view\.multiple=1\.5 is no count"),
        ({"margin_mm": -1}, r"view\.margin_mm=-1 is no margin: give 0 mm or more"),
        ({"margin_mm": "abc"}, r"view\.margin_mm=abc is no margin"),
        ({"jitter_mm": -1}, r"view\.jitter_mm=-1 is no margin: give 0 mm or more"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        view(**settings)


@pytest.mark.parametrize(
    ("spacing", "jitter", "voxels"),
    [((2.0, 1.0, 1.0), 3, (1, 3, 3)), ((1.0, 0.78, 0.78), 2.34, (2, 3, 3)), ((5.0, 0.8, 0.8), 0, (0, 0, 0))],
)
def test_jitter_is_whole_voxels_within_the_distance(spacing, jitter, voxels):
    assert jitter_voxels(jitter, spacing) == voxels


def test_a_training_box_is_moved_evenly_by_at_most_the_jitter(targets):
    roi = view(size=[9, 9, 11], jitter_mm=3)
    rng = np.random.default_rng(0)
    unmoved = np.array([1, 3, 6])

    moves = np.array([roi.draw(targets["case_00000"], rng, LABELS) for _ in range(2000)]) - unmoved

    for axis, most in enumerate((1, 3, 3)):  # 3 mm of voxels of 2, 1, 1 mm
        values, counts = np.unique(moves[:, axis], return_counts=True)
        assert values.tolist() == list(range(-most, most + 1))
        expected = 2000 / len(values)
        assert np.all(abs(counts - expected) < 5 * np.sqrt(expected))
    assert abs(np.corrcoef(moves.T)[np.triu_indices(3, 1)]).max() < 0.1


def test_the_jitter_is_the_sample_s_own(targets):
    roi = view(size=[9, 9, 11], jitter_mm=3)

    drawn = [roi.draw(targets["case_00000"], np.random.default_rng(seed), LABELS) for seed in (0, 0, 1)]

    assert drawn[0] == drawn[1] != drawn[2]


def test_the_size_is_larger_by_the_jitter_on_every_side(targets):
    cases = [targets[name] for name in TARGETS]

    assert covering_size(cases, margin_mm=3, multiple=1, jitter_mm=5) == (11 + 2 * 2, 22 + 2 * 5, 17 + 2 * 5)


def test_a_jittered_box_still_holds_every_label_and_its_margin(targets):
    roi = view(multiple=1, jitter_mm=4, margin_mm=1).fitted(targets, list(TARGETS))
    rng = np.random.default_rng(0)

    for name in ("case_00000", "case_00001"):
        volume = targets[name].shape
        grown = [(max(0, s.start - 1), min(n, s.stop + 1)) for s, n in zip(TARGETS[name], volume, strict=True)]
        for _ in range(200):
            corner = roi.draw(targets[name], rng, LABELS)
            for c, n, (start, stop) in zip(corner, roi.roi_size, grown, strict=True):
                assert c <= start
                assert stop <= c + n


def test_a_size_too_small_for_the_jitter_is_told(targets, caplog):
    with caplog.at_level(logging.WARNING):
        view(size=[7, 16, 11], multiple=1, jitter_mm=2).fitted(targets, list(TARGETS))

    assert "view.size=[7, 16, 11] is less than the (9, 20, 15)" in caplog.text


def test_a_box_about_a_prediction_is_centred_on_that_and_stays(targets):
    roi = view(size=[4, 6, 10], jitter_mm=20)
    predicted = Predicted((slice(0, 2), slice(20, 26), slice(10, 20)))

    drawn = {roi.draw(targets["case_00000"], np.random.default_rng(seed), LABELS, predicted) for seed in range(20)}

    assert drawn == {(0, 20, 10)}  # [-1:3, 20:26, 10:20], moved into the volume


def test_patches_of_a_predicted_box_lie_in_it_even_about_the_reference_s_voxels(targets):
    roi = view(size=[8, 12, 12], patch_size=[3, 4, 5], foreground_fraction=0.5)
    predicted = Predicted((slice(6, 10), slice(14, 20), slice(18, 30)))  # box [4:12, 11:23, 18:30]
    rng = np.random.default_rng(0)

    drawn = np.array([roi.draw(targets["case_00000"], rng, LABELS, predicted) for _ in range(300)])

    assert drawn.min(axis=0).tolist() == [4, 11, 18]
    assert drawn.max(axis=0).tolist() == [12 - 3, 23 - 4, 30 - 5]


@pytest.mark.parametrize("patch_size", [None, [4, 6, 8]])
@pytest.mark.parametrize(("case", "source"), [("case_00000", Predicted(None)), ("case_00002", None)])
def test_where_nothing_is_labelled_the_whole_volume_is_sampled(targets, patch_size, case, source):
    roi = view(size=[4, 6, 8], patch_size=patch_size, jitter_mm=3)
    rng = np.random.default_rng(0)

    drawn = np.array([roi.draw(targets[case], rng, LABELS, source) for _ in range(500)])

    assert drawn.min(axis=0).tolist() == [0, 0, 0]
    assert drawn.max(axis=0).tolist() == [16 - 4, 30 - 6, 30 - 8]


@pytest.fixture
def kidneys(tmp_path, add_case) -> Store:
    """Two kidneys that fit into no box together, with a tumor at the rim of the second, and a speck between them."""
    create_store(tmp_path / "kidneys", {})
    label = np.zeros((16, 30, 30), np.uint8)
    label[4:8, 8:14, 0:6] = 1
    label[6:10, 10:16, 22:28] = 1
    label[8:10, 14:16, 28] = 2
    label[13, 28, 14] = 3
    add_case(tmp_path / "kidneys", "case_00000", label=label)
    return Store(tmp_path / "kidneys")


class TestSeveralBoxes:
    size = (6, 10, 10)

    def corners(self, label) -> set[Triple]:
        return {tuple(axis.start for axis in box) for box in roi_boxes(label, self.size)}

    @pytest.mark.parametrize("predicted", [False, True])
    def test_every_sample_is_one_of_the_boxes_that_inference_looks_into(self, kidneys, tmp_path, predicted):
        case, priors = kidneys["case_00000"], Priors(tmp_path / "priors")
        shown = np.roll(case.label[...], (1, -2, 1), axis=(0, 1, 2)) if predicted else case.label[...]
        priors.write("case_00000", shown)
        source = priors["case_00000"] if predicted else None

        drawn = [view(size=self.size).draw(case, np.random.default_rng(s), LABELS, source) for s in range(60)]

        assert len(self.corners(shown)) == 2
        assert set(drawn) == self.corners(shown)
        assert 15 < drawn.count(min(drawn)) < 45
        for corner in set(drawn):
            read = view(size=self.size).read(case, [case.label], corner, self.size)[1]
            assert (read > 0).sum() > 100

    def test_boxes_about_the_reference_are_moved_by_the_jitter_and_stay_in_the_volume(self, kidneys):
        case = kidneys["case_00000"]
        boxes = self.corners(case.label[...])
        rng = np.random.default_rng(0)

        drawn = np.array([view(size=self.size, jitter_mm=2).draw(case, rng, LABELS) for _ in range(400)])

        moves = np.array([min((corner - box for box in boxes), key=np.linalg.norm) for corner in drawn])
        assert np.abs(moves).max(axis=0).tolist() == [1, 2, 2]  # 2 mm of voxels of 2, 1, 1 mm
        assert drawn.min() >= 0
        assert np.all(drawn + self.size <= case.shape)

    def test_a_patch_about_a_voxel_lies_in_the_box_that_holds_it(self, kidneys):
        case, rng = kidneys["case_00000"], np.random.default_rng(0)
        tumor = view(size=self.size, patch_size=[3, 4, 4], foreground_fraction=1.0, label_weights={"tumor": 1})

        for _ in range(30):
            corner = tumor.draw(case, rng, LABELS)
            assert 2 in tumor.read(case, [case.label], corner, [3, 4, 4])[1]

    def test_a_label_map_is_decoded_once_and_only_where_one_box_does_not_do(self, kidneys):
        class Counted(Predicted):
            read = 0

            def __getitem__(self, key):
                self.read += 1
                return self.array[key]

        case = kidneys["case_00000"]
        label = Counted(None)
        label.array, label.shape = case.label[...], case.shape
        source, rng = Predicted(case.foreground_box, label), np.random.default_rng(0)

        for size, read in (((16, 30, 30), 0), (self.size, 1), ([5, 10, 10], 2)):
            for _ in range(5):
                view(size=size).draw(case, rng, LABELS, source)
            assert label.read == read

    def test_priors_are_the_same_object_every_time(self, kidneys, tmp_path):
        priors = Priors(tmp_path / "priors")
        priors.write("case_00000", kidneys["case_00000"].label[...])

        assert priors["case_00000"] is priors["case_00000"]


def test_at_the_border_of_the_volume_a_moved_box_still_holds_every_label(tmp_path, add_case):
    create_store(tmp_path / "border", {})
    label = np.zeros((16, 30, 30), np.uint8)
    label[1:5, 1:6, 22:28] = 1
    add_case(tmp_path / "border", "case_00000", label=label)
    store = Store(tmp_path / "border")
    roi = view(multiple=1, jitter_mm=8).fitted(store, ["case_00000"])
    rng = np.random.default_rng(0)

    for _ in range(200):
        corner = roi.draw(store["case_00000"], rng, LABELS)
        assert (roi.read(store["case_00000"], [label], corner, roi.roi_size)[1] == 1).sum() == 4 * 5 * 6


@dataclass(eq=False)
class Mask:
    """A real mask's box on the thesis' grid, as far as a view looks at a stored case for it."""

    shape: Triple
    foreground_box: Box | None
    label: np.ndarray
    spacing: Spacing = (1.0, 0.78, 0.78)


def on_thesis_grid(path) -> Mask:
    mask = reorient(read_volume(path, dtype=np.uint8))
    factors = np.array(mask.grid.spacing) / Mask.spacing
    box = foreground_box(mask.array)
    outer = (slice(int(s.start * f), int(np.ceil(s.stop * f))) for s, f in zip(box, factors, strict=True))
    return Mask(tuple(np.ceil(mask.array.shape * factors).astype(int).tolist()), tuple(outer), mask.array)


@pytest.mark.slow
def test_the_size_covers_every_real_target_of_the_training_split_wherever_the_box_is_moved(shared_data):
    at_hand = find_cases(shared_data / "kits19", label_files=["segmentation.nii.gz"], synthesize_missing_images=True)
    training = set(read_split("kidney_lab").split("kits19").train)
    masks = {case.id: on_thesis_grid(case.label) for case in at_hand if case.id in training}
    assert len(masks) > 50

    roi = view(margin_mm=5, jitter_mm=10, multiple=32).fitted(masks, list(masks))

    rng = np.random.default_rng(0)
    for mask in masks.values():
        for _ in range(50):
            corner = roi.draw(mask, rng, LABELS)
            for c, n, target, mm, length in zip(
                corner, roi.roi_size, mask.foreground_box, mask.spacing, mask.shape, strict=True
            ):
                margin = int(np.ceil(5 / mm))
                assert c <= max(0, target.start - margin)
                assert c + n >= min(length, target.stop + margin)
    tight = covering_size(list(masks.values()), margin_mm=0, multiple=1)
    lengths = [[s.stop - s.start for s in mask.foreground_box] for mask in masks.values()]
    assert tight == tuple(np.max(lengths, axis=0))


@pytest.mark.slow
def test_the_size_needed_by_real_cases_is_that_of_their_masks(shared_data, tmp_path):
    cases = find_cases(shared_data / "kits19", label_files=["segmentation.nii.gz"], synthesize_missing_images=True)[6:9]
    recipe = GridRecipe(spacing=(4.0, 4.0, 4.0), crop_to_body=False, order=1)
    made = prepare_store(cases, recipe, tmp_path, dataset="kits19", workers=1, progress=False)

    needed = np.zeros(3, int)
    for case in cases:
        where = np.argwhere(made[case.id].label[...] > 0)
        needed = np.maximum(needed, where.max(axis=0) - where.min(axis=0) + 1)

    assert covering_size([made[case.id] for case in cases], margin_mm=0, multiple=1) == tuple(needed)
