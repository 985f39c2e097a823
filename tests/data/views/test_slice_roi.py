from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import ndimage

from kidney_lab.data.store import Store
from kidney_lab.data.store_writer import create_store
from kidney_lab.data.views import SliceRoiView
from kidney_lab.data.views.slice_boxes import Square
from kidney_lab.data.views.window import Scan
from kidney_lab.errors import InputError
from kidney_lab.metrics.dice import dice

LABELS = [1, 2, 3]
SHAPE = (8, 160, 180)
FULL, RESIZED = {"source": "full"}, {"source": "resized"}


def view(**settings) -> SliceRoiView:
    return SliceRoiView(**{"samples_per_epoch": 6, "val_samples": 2, "size": (64, 64), **settings})


def labels() -> np.ndarray:
    """Kidneys in slices 2 to 5, a tumor of the left one in 4 and 5, and a cyst, too small for a square, in 2."""
    label = np.zeros(SHAPE, np.uint8)
    label[2:6, 60:100, 20:60] = 1
    label[2:6, 60:100, 120:150] = 1
    label[4:6, 70:90, 50:70] = 2
    label[2, 80:83, 130:133] = 3
    return label


@pytest.fixture
def store(tmp_path, add_case) -> Store:
    create_store(tmp_path, {})
    image = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 900, SHAPE), (0, 2, 2)).astype(np.int16)
    add_case(tmp_path, "case", image=image, label=labels())
    add_case(tmp_path, "nothing", image=image, label=np.zeros(SHAPE, np.uint8))
    return Store(tmp_path)


def drawn(made, case, number=200, roi=None) -> list[tuple[int, ...]]:
    rng = np.random.default_rng(0)
    return [made.draw(case, rng, LABELS, roi) for _ in range(number)]


class TestDrawing:
    def test_samples_are_squares_about_the_region_s_components(self, store):
        places = {(corner[0], Square(*corner[3:])) for corner in drawn(view(region="mass", jitter=0.0), store["case"])}

        assert places == {(index, Square(80 - 18, 60 - 18, 36)) for index in (4, 5)}  # 20 + 2 * 8 about (80, 60)

    def test_every_kidney_is_drawn_unless_one_square_is_to_hold_both(self, store):
        one = drawn(view(region="kidney_and_mass", jitter=0.0), store["case"])
        joint = drawn(view(region="kidney_and_mass", jitter=0.0, mode="joint"), store["case"])

        assert {corner[0] for corner in one} == {2, 3, 4, 5}
        assert len({corner[3:] for corner in one if corner[0] == 2}) == 2
        assert {corner[3:] for corner in joint if corner[0] == 2} == {(80 - 98, 85 - 98, 196)}  # 130 + 2 * 33

    def test_squares_about_the_reference_move_and_those_about_predictions_stay(self, store):
        roi = SimpleNamespace(label=labels(), foreground_box=(slice(2, 6), slice(60, 100), slice(20, 150)))

        moved = {corner[3:] for corner in drawn(view(region="tumor"), store["case"])}
        stayed = {corner[3:] for corner in drawn(view(region="tumor"), store["nothing"], roi=roi)}

        assert len(moved) > 50
        assert stayed == {(62, 42, 36)}

    def test_without_the_region_whole_slices_are_drawn(self, store):
        empty = SimpleNamespace(label=np.zeros(SHAPE, np.uint8), foreground_box=None)

        for case, roi in ((store["nothing"], None), (store["case"], empty)):
            places = drawn(view(region="mass"), case, roi=roi)
            assert {corner[3:] for corner in places} == {(-10, 0, 180)}
            assert {corner[0] for corner in places} == set(range(8))

    def test_a_component_that_is_too_small_is_no_sample(self, store):
        assert 2 not in {corner[0] for corner in drawn(view(region="mass"), store["case"])}


class TestReading:
    def test_a_square_of_the_network_s_size_is_read_as_it_is_stored(self, store):
        case = store["case"]

        image, label = view(neighbours=1).read(case, [case.label], (2, 0, 0, 50, 90, 64), (64, 64))

        np.testing.assert_array_equal(image, case.image[1:4, 50:114, 90:154])
        np.testing.assert_array_equal(label, case.label[2:3, 50:114, 90:154])

    @pytest.mark.parametrize("settings", [FULL, RESIZED, {"denoise": "median"}])
    def test_what_augmentation_needs_lies_about_the_sample_in_its_magnification(self, store, settings):
        case = store["case"]
        made = view(**settings)

        image, label = made.read(case, [case.label], (4, 0, 0, 62, 42, 36), (64, 64))
        larger = made.read(case, [case.label], (4, -10, -6, 62, 42, 36), (84, 76))

        np.testing.assert_array_equal(larger[0][:, 10:74, 6:70], image)
        np.testing.assert_array_equal(larger[1][:, 10:74, 6:70], label)

    def test_cut_from_the_full_slice_a_square_is_sharper_than_from_the_resized_one(self, store):
        case, corner = store["case"], (4, 0, 0, 62, 42, 36)

        full, resized = (view(source=source).read(case, [], corner, (64, 64))[0] for source in ("full", "resized"))

        assert np.corrcoef(full.ravel(), resized.ravel())[0, 1] > 0.8  # the same place
        assert np.abs(np.diff(full[0].astype(float))).mean() > 1.2 * np.abs(np.diff(resized[0].astype(float))).mean()


class TestWholeScans:
    def test_there_is_a_window_for_every_square_about_the_prediction(self):
        windows = view(region="kidney_and_mass").windows(SHAPE, labels())

        assert [window.corner[0] for window in windows] == [2, 2, 3, 3, 4, 4, 5, 5]
        assert windows[0].corner == (2, 0, 0, 50, 10, 60)
        assert windows[0].box == (slice(2, 3), slice(50, 110), slice(10, 70))

    def test_an_empty_prediction_has_no_window(self):
        assert view().windows(SHAPE, np.zeros(SHAPE, np.uint8)) == []
        assert view(region="tumor").windows(SHAPE, (labels() == 1).astype(np.uint8)) == []

    def test_without_an_earlier_stage_it_knows_no_place(self):
        with pytest.raises(InputError, match=r"looks at what an earlier stage found, and there is none: .*view=slices"):
            view().windows(SHAPE)

    def test_windows_larger_than_a_square_are_refused(self):
        with pytest.raises(InputError, match=r"windows of \[128, 128\] pixels are larger than the view's \[64, 64\]"):
            view().windows(SHAPE, labels(), (128, 128))

    @pytest.mark.parametrize(
        ("settings", "size"), [(FULL, (64, 64)), (FULL, (128, 128)), (FULL, (96, 48)), (RESIZED, (128, 128))]
    )
    def test_a_mask_that_is_cropped_and_put_back_is_the_same(self, settings, size):
        d, h, w = np.ogrid[:2, :160, :180]
        mask = ((h - 70) / 30.0) ** 2 + ((w - 90) / 22.0) ** 2 + 0 * d < 1
        made = view(size=size, **settings)
        scan, put_back = Scan(np.zeros(mask.shape, np.int16)), np.zeros(mask.shape, bool)

        for window in made.windows(mask.shape, mask.astype(np.uint8)):
            _, seen = made.read(scan, [mask.astype(np.uint8)], window.corner, window.shape)
            back = made.place(torch.from_numpy(seen).float(), window, mask.shape)
            put_back[window.box] |= back[0].numpy() > 0.5

        assert dice(put_back, mask) >= 0.98

    def test_what_reaches_beyond_the_slice_is_cut_off(self):
        mask = np.zeros((1, 100, 100), np.uint8)
        mask[0, :30, 70:] = 1
        made = view(size=(32, 32))

        (window,) = made.windows(mask.shape, mask)
        back = made.place(torch.ones(2, 32, 32), window, mask.shape)

        assert window.box == (slice(0, 1), slice(0, 38), slice(62, 100))
        assert back.shape == (2, 1, 38, 38)
        assert torch.allclose(back, torch.ones(()))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"region": "liver"}, r"view\.region=liver is unknown: choose one of kidney_and_mass, mass"),
        ({"mode": "all"}, r"view\.mode=all is unknown: choose component or joint"),
        ({"source": "half"}, r"view\.source=half is unknown: choose full or resized"),
        ({"denoise": "mean"}, r"view\.denoise=mean is unknown: choose none or median"),
        ({"margin": -1}, r"view\.margin=-1"),
        ({"min_pixels": 0}, r"view\.min_pixels=0 is no count"),
        ({"size": (8, 8, 8)}, r"view\.size=\(8, 8, 8\) is no size"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        view(**settings)
