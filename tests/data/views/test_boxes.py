from collections import Counter

import numpy as np
import pytest

from kidney_lab.data.store import Store
from kidney_lab.data.store_writer import create_store
from kidney_lab.data.views.boxes import (
    AIR_HU,
    check_fraction,
    check_label_weights,
    check_size,
    foreground_corner,
    grow,
    random_corner,
    read_box,
)
from kidney_lab.errors import InputError


class TestReadBox:
    @pytest.mark.parametrize("corner", [(0, 0, 0), (3, 4, 5), (-2, 1, -3), (4, 6, 5), (-3, -3, -3), (2, -1, 3)])
    @pytest.mark.parametrize("shape", [(3, 4, 5), (12, 2, 20), (9, 9, 9)])
    def test_a_box_is_cut_from_the_padded_array(self, corner, shape):
        array = np.arange(6 * 7 * 8, dtype=np.int16).reshape(6, 7, 8)
        padded = np.pad(array, 30, constant_values=AIR_HU)

        box = read_box(array, corner, shape, AIR_HU)

        np.testing.assert_array_equal(
            box, padded[tuple(slice(c + 30, c + 30 + s) for c, s in zip(corner, shape, strict=True))]
        )
        assert box.dtype == np.int16

    @pytest.mark.parametrize("corner", [(6, 0, 0), (-3, 0, 0), (0, 7, -20), (0, 0, 100)])
    def test_a_box_beside_the_array_holds_the_fill_alone(self, corner):
        box = read_box(np.ones((6, 7, 8), np.uint8), corner, (3, 4, 5), 7)

        assert box.shape == (3, 4, 5)
        assert (box == 7).all()

    def test_only_the_box_is_read(self):
        class Spy:
            shape, dtype = (100, 100, 100), np.dtype(np.uint8)

            def __getitem__(self, key):
                self.asked = key
                return np.zeros([s.stop - s.start for s in key], np.uint8)

        spy = Spy()
        read_box(spy, (-2, 10, 95), (4, 5, 10), 0)

        assert spy.asked == (slice(0, 2), slice(10, 15), slice(95, 100))


class TestRandomCorner:
    def test_every_place_inside_the_box_is_reached_and_none_beyond(self):
        rng = np.random.default_rng(0)
        box = (slice(3, 8), slice(-2, 4), slice(5, 9))

        corners = {random_corner(box, (4, 4, 4), rng) for _ in range(300)}

        assert corners == {(d, h, 5) for d in (3, 4) for h in (-2, -1, 0)}

    def test_a_box_smaller_than_the_patch_lies_anywhere_inside_it(self):
        rng = np.random.default_rng(0)

        corners = {random_corner((slice(3, 5), slice(0, 4), slice(0, 4)), (4, 4, 4), rng) for _ in range(100)}

        assert corners == {(1, 0, 0), (2, 0, 0), (3, 0, 0)}


class TestForegroundCorner:
    def centres(self, case, *, labels=(1, 2, 3), weights=None, number=600) -> Counter:
        rng = np.random.default_rng(0)
        size = (5, 6, 7)
        corners = [foreground_corner(case, size, rng, labels=labels, weights=weights) for _ in range(number)]
        places = [tuple(c + n // 2 for c, n in zip(corner, size, strict=True)) for corner in corners]
        return Counter(int(case.label[...][place]) for place in places)

    def test_labels_are_drawn_evenly_however_small_they_are(self, store):
        counts = self.centres(store["case_00000"])

        # 432 voxels of label 1 and one of label 2; five standard deviations are 61.
        assert set(counts) == {1, 2}
        assert abs(counts[1] - 300) < 61

    def test_labels_are_drawn_by_their_weights(self, store):
        counts = self.centres(store["case_00000"], weights={"kidney": 1, "tumor": 4, "cyst": 100})

        # The case has no cyst, so that a fifth is kidney; five standard deviations are 49.
        assert set(counts) == {1, 2}
        assert abs(counts[1] - 120) < 49

    @pytest.mark.parametrize("weights", [{"tumor": 1}, {"tumor": 3.5, "kidney": 0}])
    def test_labels_without_a_weight_are_not_drawn(self, store, weights):
        assert set(self.centres(store["case_00000"], weights=weights, number=50)) == {2}

    def test_labels_that_the_dataset_lacks_are_not_drawn(self, store):
        assert set(self.centres(store["case_00000"], labels=[2], number=50)) == {2}

    @pytest.mark.parametrize(("name", "weights"), [("case_00002", None), ("case_00000", {"cyst": 1})])
    def test_a_case_without_the_labels_gives_none(self, store, name, weights):
        rng = np.random.default_rng(0)

        assert foreground_corner(store[name], (2, 2, 2), rng, labels=[1, 2, 3], weights=weights) is None


def test_a_margin_is_rounded_up_to_whole_voxels():
    box = (slice(5, 8), slice(10, 12), slice(0, 4))

    assert grow(box, 3.0, (2.0, 1.0, 0.8)) == (slice(3, 10), slice(7, 15), slice(-4, 8))
    assert grow(box, 0.0, (2.0, 1.0, 0.8)) == box


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"liver": 1}, r"view\.label_weights holds liver: choose from kidney, tumor, cyst"),
        ({"kidney": -1, "tumor": 2}, "weights of 0 or more, one of them above 0"),
        ({"kidney": 0}, "weights of 0 or more, one of them above 0"),
        ({}, "or null for even shares"),
        (5, r"view\.label_weights=5 are no weights by label: give such as \{kidney: 1, tumor: 2\}, or null"),
        ({"kidney": "abc"}, r"view\.label_weights=\{kidney: abc\} must be weights of 0 or more"),
        ({"kidney": float("inf")}, r"view\.label_weights=\{kidney: inf\} must be weights"),
    ],
)
def test_wrong_weights_are_refused(weights, message):
    with pytest.raises(InputError, match=message):
        check_label_weights(weights)


@pytest.mark.parametrize("value", [-0.1, 1.01, float("nan"), "abc", None])
def test_a_share_beyond_0_to_1_is_refused(value):
    with pytest.raises(InputError, match=r"view\.foreground_fraction=.* is no share: give a number from 0 to 1"):
        check_fraction("foreground_fraction", value)


@pytest.mark.parametrize("size", [[8, 8], [8, 8, 0], [8, 8.5, 8], [8, 8, 8, 8], 8, "888"])
def test_a_size_of_other_axes_or_numbers_is_refused(size):
    with pytest.raises(InputError, match=r"view\.size=.* is no size: give 3 whole numbers above 0, \(D, H, W\)"):
        check_size("size", size, "D, H, W")


def test_a_read_decodes_only_the_blocks_that_hold_the_box(tmp_path, add_case):
    create_store(tmp_path, {})
    image = np.random.default_rng(0).integers(-900, 900, (40, 140, 140)).astype(np.int16)
    add_case(tmp_path, "case_00000", image=image)
    file = tmp_path / "case_00000" / "image.b2nd"
    stored = bytearray(file.read_bytes())
    middle = len(stored) // 2  # of the second of three chunks
    stored[middle - 150_000 : middle + 150_000] = b"\xff" * 300_000
    file.write_bytes(stored)
    damaged = Store(tmp_path)["case_00000"].image

    np.testing.assert_array_equal(read_box(damaged, (2, 50, 60), (9, 20, 20), AIR_HU), image[2:11, 50:70, 60:80])
    with pytest.raises(RuntimeError):
        read_box(damaged, (0, 0, 0), image.shape, AIR_HU)
