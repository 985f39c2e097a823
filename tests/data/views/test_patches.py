import numpy as np
import pytest

from kidney_lab.data.store import Store
from kidney_lab.data.store_writer import create_store
from kidney_lab.data.views import PatchView
from kidney_lab.errors import InputError

LABELS = [1, 2, 3]


def view(roi=(5, 6, 7), fraction=0.5, **settings) -> PatchView:
    return PatchView(roi_size=roi, samples_per_epoch=6, val_samples=2, foreground_fraction=fraction, **settings)


def corners(patches, case, number=300, labels=LABELS) -> list[tuple[int, int, int]]:
    rng = np.random.default_rng(0)
    return [patches.draw(case, rng, labels) for _ in range(number)]


def test_random_patches_reach_every_place_inside_the_volume(store):
    drawn = set(corners(view((8, 12, 16), 0.0), store["case_00000"]))

    assert drawn == {(d, h, 0) for d in range(3) for h in range(3)}


def test_a_foreground_patch_has_a_labelled_voxel_at_its_centre(store):
    case = store["case_00000"]
    label = case.label[...]

    assert all(label[d + 2, h + 3, w + 3] > 0 for d, h, w in corners(view(fraction=1.0), case, 50))


def test_the_share_of_foreground_patches_is_the_one_asked_for(store):
    drawn = corners(view(fraction=0.3), store["case_00000"], 400, labels=[2])

    # That voxel lies in a corner of the volume, where no random patch is centred; five standard deviations are 46.
    assert abs(drawn.count((-2, 10, 12)) - 120) < 46


def test_a_case_without_labels_gives_random_patches(store):
    assert len(set(corners(view(fraction=1.0), store["case_00002"]))) > 50


def test_beyond_the_border_there_are_air_and_background(store):
    case = store["case_00000"]

    image, label = view().read(case, [case.label], (-2, 10, 12), (5, 6, 7))

    expected = np.pad(case.image[0:3, 10:14, 12:16], ((2, 0), (0, 2), (0, 3)), constant_values=-1000)
    np.testing.assert_array_equal(image, expected[None])
    np.testing.assert_array_equal(
        label[0], np.pad(case.label[0:3, 10:14, 12:16], ((2, 0), (0, 2), (0, 3)), constant_values=0)
    )
    assert (image.dtype, label.dtype) == (np.int16, np.uint8)


def test_patches_within_the_roi_lie_in_the_box_of_the_labels_and_its_margin(tmp_path, add_case):
    create_store(tmp_path, {})
    label = np.zeros((12, 20, 20), np.uint8)
    label[4:8, 8:14, 10:16] = 1  # spacing 2, 1, 1: a margin of 3 mm makes [2:10, 5:17, 7:19]
    add_case(tmp_path, "case_00000", label=label)

    drawn = set(corners(view((6, 10, 12), 0.0, within="roi", margin_mm=3), Store(tmp_path)["case_00000"]))

    assert drawn == {(d, h, 7) for d in range(2, 5) for h in range(5, 8)}


def test_the_roi_s_margin_ends_at_the_volume(store):
    drawn = corners(view((5, 6, 7), 0.0, within="roi", margin_mm=100), store["case_00000"])

    low, high = np.min(drawn, axis=0), np.max(drawn, axis=0)
    assert (low >= 0).all()
    assert (high <= np.array([5, 8, 9])).all()


def test_a_case_without_labels_has_no_roi_and_gives_patches_of_the_volume(store):
    drawn = set(corners(view((8, 12, 16), 1.0, within="roi"), store["case_00002"]))

    assert drawn == {(d, h, 0) for d in range(3) for h in range(3)}


def test_nothing_depends_on_the_training_cases(store):
    patches = view()

    assert patches.fitted(store, store.cases) is patches
    assert (patches.spatial_dims, patches.channels) == (3, 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"within": "body"}, r"view\.within=body is unknown: choose volume or roi"),
        ({"roi": [8, 8]}, r"view\.roi_size=\[8, 8\] is no size"),
        ({"fraction": 1.5}, r"view\.foreground_fraction=1\.5"),
        ({"fraction": "abc"}, r"view\.foreground_fraction=abc is no share"),
        ({"label_weights": {"spleen": 1}}, "spleen"),
        ({"margin_mm": "abc"}, r"view\.margin_mm=abc is no margin: give 0 mm or more"),
        ({"margin_mm": -1}, r"view\.margin_mm=-1 is no margin"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        view(**settings)
