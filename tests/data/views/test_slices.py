from collections import Counter

import numpy as np
import pytest
import torch
from scipy import ndimage

from kidney_lab.data.store import Store
from kidney_lab.data.store_writer import create_store
from kidney_lab.data.views import AIR_HU, SliceView
from kidney_lab.data.views.denoise import anisotropic_diffusion
from kidney_lab.data.views.planes import resize_label, resize_planes
from kidney_lab.data.views.window import Scan
from kidney_lab.errors import InputError
from kidney_lab.metrics.dice import dice

LABELS = [1, 2, 3]
SHARES = {"tumor_fraction": 0.2, "kidney_fraction": 0.3, "empty_fraction": 0.5}


def view(**settings) -> SliceView:
    settings = {"size": (8, 8), **settings} if "roi_size" not in settings else settings
    return SliceView(samples_per_epoch=6, val_samples=2, **settings)


@pytest.fixture
def sliced(tmp_path, add_case) -> Store:
    """Twelve slices of 20 x 24: kidney in 2 to 5, tumor in 5 and 6, a cyst in 8; the others are empty.

    Beside it cases that lack kinds: no tumor, no kidney, no label at all, and one that is labelled everywhere.
    """
    create_store(tmp_path, {})
    label = np.zeros((12, 20, 24), np.uint8)
    label[2:6, 3:9, 4:10] = 1
    label[5:7, 12:15, 18:22] = 2
    label[8, 1, 1] = 3
    image = np.random.default_rng(0).integers(-900, 900, label.shape).astype(np.int16)
    add_case(tmp_path, "all_kinds", image=image, label=label)
    add_case(tmp_path, "no_tumor", label=np.where(label == 2, 0, label).astype(np.uint8))
    add_case(tmp_path, "no_kidney", label=np.where(label == 1, 0, label).astype(np.uint8))
    add_case(tmp_path, "nothing", label=np.zeros_like(label))
    add_case(tmp_path, "everywhere", label=np.ones_like(label))
    return Store(tmp_path)


def indices(slices, case, number=400) -> Counter:
    rng = np.random.default_rng(0)
    return Counter(slices.draw(case, rng, LABELS)[0] for _ in range(number))


class TestKinds:
    @pytest.mark.parametrize(
        ("share", "expected"),
        [("tumor", {5, 6}), ("kidney", {2, 3, 4, 5}), ("empty", {0, 1, 7, 9, 10, 11})],
    )
    def test_each_kind_gives_its_slices(self, sliced, share, expected):
        assert set(indices(view(**{f"{share}_fraction": 1.0}), sliced["all_kinds"])) == expected

    def test_what_the_shares_leave_are_slices_of_any_kind(self, sliced):
        assert set(indices(view(), sliced["all_kinds"])) == set(range(12))

    def test_the_shares_are_those_asked_for(self, sliced):
        counts = indices(view(**SHARES), sliced["all_kinds"], 1000)

        empty = sum(counts[k] for k in (0, 1, 7, 9, 10, 11))
        assert abs(empty - 500) < 80  # five standard deviations
        assert abs(counts[6] - 100) < 48  # half of the tumor slices
        assert abs(sum(counts[k] for k in (2, 3, 4)) - 225) < 66  # three quarters of the kidney slices
        assert counts[8] == 0  # a cyst alone is neither

    @pytest.mark.parametrize(
        ("case", "share", "expected"),
        [
            ("no_tumor", "tumor", {2, 3, 4, 5}),
            ("no_kidney", "kidney", {5, 6}),
            ("nothing", "tumor", set(range(12))),
            ("nothing", "kidney", set(range(12))),
            ("everywhere", "empty", set(range(12))),
        ],
    )
    def test_a_case_that_lacks_a_kind_falls_back(self, sliced, case, share, expected):
        assert set(indices(view(**{f"{share}_fraction": 1.0}), sliced[case])) == expected

    def test_a_case_without_labels_is_read_as_well(self, sliced):
        case = sliced["nothing"]
        slices = view(**SHARES, roi_size=(6, 6))

        corner = slices.draw(case, np.random.default_rng(0), LABELS)
        _, label = slices.read(case, [case.label], corner, slices.roi_size)

        assert not label.any()


class TestWindows:
    def test_native_slices_are_cut_anywhere(self, sliced):
        slices = view(roi_size=(18, 23))
        rng = np.random.default_rng(0)

        drawn = {slices.draw(sliced["all_kinds"], rng, LABELS)[1:] for _ in range(300)}

        assert drawn == {(h, w) for h in range(3) for w in range(2)}

    def test_a_window_larger_than_the_slice_is_padded_around_its_middle(self, sliced):
        slices = view(roi_size=(25, 24))
        case = sliced["all_kinds"]

        corner = slices.draw(case, np.random.default_rng(0), LABELS)
        image, label = slices.read(case, [case.label], corner, slices.roi_size)

        assert corner[1:] == (-2, 0)
        expected = np.pad(case.image[corner[0] : corner[0] + 1], ((0, 0), (2, 3), (0, 0)), constant_values=AIR_HU)
        np.testing.assert_array_equal(image, expected)
        np.testing.assert_array_equal(label[0, 2:22], case.label[corner[0] : corner[0] + 1][0])

    @pytest.mark.parametrize(("kind", "value"), [("kidney", 1), ("tumor", 2)])
    @pytest.mark.parametrize("size", [None, (10, 12), (40, 48), (16, 16)])
    def test_windows_smaller_than_the_slice_hold_what_the_slice_was_drawn_for(self, sliced, kind, value, size):
        slices = view(roi_size=(4, 4), size=size, **{f"{kind}_fraction": 1.0})
        case = sliced["all_kinds"]
        rng = np.random.default_rng(0)

        for _ in range(30):
            corner = slices.draw(case, rng, LABELS)
            _, label = slices.read(case, [case.label], corner, slices.roi_size)
            assert value in label

    def test_a_larger_box_shows_the_same_pixels_in_its_middle(self, sliced):
        case = sliced["all_kinds"]
        for slices in (view(roi_size=(6, 8)), view(size=(10, 10)), view(size=(10, 10), denoise="median")):
            index, h, w = slices.draw(case, np.random.default_rng(1), LABELS)
            rows, columns = slices.roi_size
            image, label = slices.read(case, [case.label], (index, h, w), (rows, columns))
            wide, wide_label = slices.read(case, [case.label], (index, h - 3, w - 2), (rows + 6, columns + 4))

            np.testing.assert_array_equal(wide[:, 3:-3, 2:-2], image)
            np.testing.assert_array_equal(wide_label[:, 3:-3, 2:-2], label)


class TestWholeSlices:
    def test_they_are_resized_by_area_with_their_labels(self, sliced):
        case = sliced["all_kinds"]
        slices = view(size=(12, 12), tumor_fraction=1.0)

        index, h, w = slices.draw(case, np.random.default_rng(0), LABELS)
        image, label = slices.read(case, [case.label], (index, h, w), slices.roi_size)

        assert (h, w) == (0, 0)
        np.testing.assert_array_equal(image, resize_planes(case.image[index : index + 1], (12, 12)))
        np.testing.assert_array_equal(label, resize_label(case.label[index : index + 1], (12, 12)))
        assert 2 in label

    @pytest.mark.parametrize("size", [None, (10, 12)])
    def test_denoising_comes_before_resizing(self, sliced, size):
        case = sliced["all_kinds"]
        image, _ = view(size=size, roi_size=size or (20, 24), denoise="median").read(
            case, [case.label], (4, 0, 0), size or (20, 24)
        )

        median = ndimage.median_filter(case.image[4:5], size=(1, 3, 3), mode="nearest")
        np.testing.assert_array_equal(image, median if size is None else resize_planes(median, size))


class TestNeighbours:
    @pytest.mark.parametrize("size", [None, (10, 12)])
    @pytest.mark.parametrize(
        ("index", "shown"), [(5, [3, 4, 5, 6, 7]), (0, [0, 0, 0, 1, 2]), (11, [9, 10, 11, 11, 11])]
    )
    def test_they_are_channels_and_the_last_slice_is_repeated(self, sliced, index, shown, size):
        slices = view(size=size, roi_size=size or (20, 24), neighbours=2)
        case = sliced["all_kinds"]

        image, label = slices.read(case, [case.label], (index, 0, 0), slices.roi_size)

        whole = case.image[...][shown]
        assert slices.channels == 5
        np.testing.assert_array_equal(image, whole if size is None else resize_planes(whole, size))
        plane = case.label[index : index + 1]
        np.testing.assert_array_equal(label, plane if size is None else resize_label(plane, size))

    def test_a_volume_thinner_than_the_neighbours_is_read(self, tmp_path, add_case):
        create_store(tmp_path, {})
        image = np.arange(2 * 4 * 4, dtype=np.int16).reshape(2, 4, 4)
        add_case(tmp_path, "thin", image=image, label=np.zeros(image.shape, np.uint8))
        case = Store(tmp_path)["thin"]

        shown, _ = view(roi_size=(4, 4), neighbours=3).read(case, [case.label], (1, 0, 0), (4, 4))

        np.testing.assert_array_equal(shown, image[[0, 0, 0, 1, 1, 1, 1]])


def test_only_the_slices_and_the_window_are_decoded(sliced):
    case = sliced["all_kinds"]
    asked = []

    class Spy:
        def __init__(self, array):
            self.array, self.shape, self.dtype = array, array.shape, array.dtype

        def __getitem__(self, key):
            asked.append(key)
            return self.array[key]

    class Case:
        image, shape = Spy(case.image), case.shape

    view(roi_size=(6, 6), neighbours=1).read(Case, [Spy(case.label)], (4, 3, 15), (6, 12))

    assert asked == [(slice(3, 6), slice(3, 9), slice(15, 24)), (slice(4, 5), slice(3, 9), slice(15, 24))]


class TestWholeScans:
    @pytest.mark.parametrize("size", [(24, 24), (10, 12), (40, 30), None])
    def test_every_slice_is_a_window_that_reads_as_a_sample_does(self, sliced, size):
        case = sliced["all_kinds"]
        made = view(size=size, roi_size=size or (20, 24))

        windows = made.windows(case.shape, None, made.roi_size)

        assert [window.corner for window in windows] == [(index, 0, 0) for index in range(12)]
        for window in windows:
            expected, _ = made.read(case, [], window.corner, made.roi_size)
            np.testing.assert_array_equal(made.read(case, [], window.corner, window.shape)[0], expected)

    @pytest.mark.parametrize("size", [(64, 64), (64, 100), (40, 48)])
    def test_a_mask_comes_back_from_the_resized_slice(self, size):
        h, w = np.ogrid[:40, :48]
        mask = ((h - 15) / 10.0) ** 2 + ((w - 30) / 13.0) ** 2 < 1
        made = view(size=size)
        (window,) = made.windows((1, 40, 48))

        _, seen = made.read(Scan(np.zeros((1, 40, 48), np.int16)), [mask[None].astype(np.uint8)], (0, 0, 0), size)
        back = made.place(torch.from_numpy(seen).float(), window, (1, 40, 48))

        assert back.shape == (1, 1, 40, 48)
        assert dice(back[0, 0].numpy() > 0.5, mask) >= 0.95  # a disc of 20 x 26 pixels; moved by one it has 0.94

    @pytest.mark.parametrize(("size", "smallest"), [((8, 8), (11, 9)), (None, (23, 24)), (None, (4, 30))])
    def test_what_an_inferer_needs_beyond_a_slice_is_padded_and_cut_off_again(self, sliced, size, smallest):
        case = sliced["all_kinds"]
        made = view(size=size, roi_size=size or (20, 24))
        window = made.windows(case.shape, None, smallest)[3]

        image, _ = made.read(case, [], window.corner, window.shape)
        back = made.place(torch.from_numpy(image).float(), window, case.shape)

        assert image.shape[1:] == tuple(max(n, m) for n, m in zip(smallest, size or (20, 24), strict=True))
        assert back.shape == (1, 1, 20, 24)
        if size is None:
            np.testing.assert_array_equal(back[0, 0], case.image[3])


def test_copies_of_every_slice_are_channels_beside_each_other(sliced):
    made = view(size=None, roi_size=(20, 24), neighbours=1, copies=3)

    image, label = made.read(sliced["all_kinds"], [sliced["all_kinds"].label], (5, 0, 0), (20, 24))

    assert made.channels == len(image) == 9
    assert len(label) == 1
    for channel, index in enumerate([4, 4, 4, 5, 5, 5, 6, 6, 6]):
        np.testing.assert_array_equal(image[channel], sliced["all_kinds"].image[index])


@pytest.mark.parametrize("size", [None, (10, 12)])
def test_artefacts_are_taken_out_then_noise_then_the_slice_is_resized_in_training_as_in_prediction(size):
    volume = np.random.default_rng(0).integers(0, 200, (1, 20, 24)).astype(np.int16)
    volume[0, 10, 12] = 20_000  # metal, as its scanner gives it
    made = view(size=size, roi_size=size or (20, 24), artefacts="clip", denoise="anisotropic")
    (window,) = made.windows((1, 20, 24))

    image, _ = made.read(Scan(volume), [], window.corner, window.shape)

    expected = anisotropic_diffusion(np.minimum(volume, 3071))
    np.testing.assert_array_equal(image, expected if size is None else resize_planes(expected, size))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": None}, r"view\.size and view\.roi_size are both null"),
        ({"size": [8, 8, 8]}, r"view\.(roi_)?size=\[8, 8, 8\] is no size: give 2 whole numbers above 0, \(H, W\)"),
        ({"tumor_fraction": 0.7, "kidney_fraction": 0.4}, "add up to more than 1"),
        ({"empty_fraction": -0.1}, r"view\.empty_fraction=-0\.1"),
        ({"neighbours": -1}, r"view\.neighbours=-1 is no count: give a whole number of at least 0"),
        ({"neighbours": "abc"}, r"view\.neighbours=abc is no count"),
        ({"roi_size": 5}, r"view\.roi_size=5 is no size"),
        ({"denoise": "mean"}, r"view\.denoise=mean is unknown: choose none, median, bilateral, anisotropic\."),
        ({"artefacts": "metal"}, r"view\.artefacts=metal is unknown: choose none, clip, body\."),
        ({"copies": 0}, r"view\.copies=0 is no count: give a whole number of at least 1"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        view(**settings)
