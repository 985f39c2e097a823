from collections import Counter

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, RandFlipd, RandGaussianNoised, ScaleIntensityRange
from torch.utils.data import DataLoader

from kidney_lab.data.sampling import EpochSampler, SampleKey
from kidney_lab.data.store import CaseRecord, Store, create_store, write_case
from kidney_lab.data.views import AIR_HU, PatchDataset, PatchView, WholeCaseDataset, read_patch
from kidney_lab.errors import InputError
from kidney_lab.geometry import grid_from_spacing

SHAPE = (10, 14, 16)
CASES = ["case_00000", "case_00001", "case_00002"]
INTENSITY = ScaleIntensityRange(a_min=-1000, a_max=1000, b_min=-1.0, b_max=1.0, clip=True)


def add_case(path, name, *, image=None, label=None, shape=SHAPE) -> None:
    image = np.zeros(shape, np.int16) if image is None else image
    grid = grid_from_spacing(image.shape, (2.0, 1.0, 1.0))
    whole = tuple(slice(0, n) for n in image.shape)
    write_case(path, name, CaseRecord(image=image, label=label, grid=grid, source=grid, crop=whole, sources={}, seed=0))


@pytest.fixture
def store(tmp_path) -> Store:
    """Three cases: one label of one voxel, one of many, one without any foreground; noise tells every place apart."""
    rng = np.random.default_rng(0)
    create_store(tmp_path, {})
    for k, name in enumerate(CASES):
        label = np.zeros(SHAPE, np.uint8)
        if k < 2:
            label[2:8, 3:12, 4:12] = 1
            label[0, 13, 15] = 2
        add_case(tmp_path, name, image=rng.integers(-900, 900, SHAPE).astype(np.int16) + k, label=label)
    return Store(tmp_path)


def patches(store, *, cases=CASES, roi=(5, 6, 7), fraction=0.5, augment=None, seed=0, labels=(1, 2, 3)) -> PatchDataset:
    view = PatchView(roi_size=roi, samples_per_epoch=6, val_samples=2, foreground_fraction=fraction)
    return PatchDataset(store, cases, view=view, intensity=INTENSITY, augment=augment, labels=labels, seed=seed)


def augmentation() -> Compose:
    return Compose(
        [
            RandFlipd(keys=["image", "label"], prob=0.5, spatial_axis=2),
            RandGaussianNoised(keys="image", prob=0.7, std=0.1),
        ]
    )


def hounsfield(sample) -> np.ndarray:
    return np.rint(sample["image"][0].numpy() * 1000).astype(int)


class TestReadPatch:
    @pytest.mark.parametrize("corner", [(0, 0, 0), (3, 4, 5), (-2, 1, -3), (4, 6, 5), (-3, -3, -3), (2, -1, 3)])
    @pytest.mark.parametrize("roi", [(3, 4, 5), (12, 2, 20), (9, 9, 9)])
    def test_a_box_is_cut_from_the_padded_array(self, corner, roi):
        array = np.arange(6 * 7 * 8, dtype=np.int16).reshape(6, 7, 8)
        padded = np.pad(array, 30, constant_values=AIR_HU)

        patch = read_patch(array, corner, roi, AIR_HU)

        np.testing.assert_array_equal(
            patch, padded[tuple(slice(c + 30, c + 30 + s) for c, s in zip(corner, roi, strict=True))]
        )
        assert patch.dtype == np.int16

    @pytest.mark.parametrize("corner", [(6, 0, 0), (-3, 0, 0), (0, 7, -20), (0, 0, 100)])
    def test_a_box_beside_the_array_holds_the_fill_alone(self, corner):
        patch = read_patch(np.ones((6, 7, 8), np.uint8), corner, (3, 4, 5), 7)

        assert patch.shape == (3, 4, 5)
        assert (patch == 7).all()

    def test_only_the_box_is_read(self):
        class Spy:
            shape, dtype = (100, 100, 100), np.dtype(np.uint8)

            def __getitem__(self, key):
                self.asked = key
                return np.zeros([s.stop - s.start for s in key], np.uint8)

        spy = Spy()
        read_patch(spy, (-2, 10, 95), (4, 5, 10), 0)

        assert spy.asked == (slice(0, 2), slice(10, 15), slice(95, 100))


class TestPatches:
    def test_samples_are_what_networks_take(self, store):
        sample = patches(store, augment=augmentation())[SampleKey(0, 0)]

        assert set(sample) == {"image", "label"}
        assert sample["image"].shape == sample["label"].shape == (1, 5, 6, 7)
        assert (sample["image"].dtype, sample["label"].dtype) == (torch.float32, torch.uint8)
        assert not any(isinstance(value, MetaTensor) for value in sample.values())

    def test_a_patch_shows_image_and_label_of_one_place_in_the_store(self, store):
        for index in range(12):
            sample = patches(store, cases=CASES[:1], fraction=0.0)[SampleKey(0, index)]
            case, box = store[CASES[0]], hounsfield(sample)
            windows = np.lib.stride_tricks.sliding_window_view(case.image[...], box.shape)
            (corner,) = np.argwhere((windows == box).all(axis=(3, 4, 5)))
            d, h, w = (slice(c, c + n) for c, n in zip(corner, box.shape, strict=True))
            np.testing.assert_array_equal(sample["label"][0], case.label[d, h, w])

    def test_random_patches_reach_every_place_inside_the_volume(self, store):
        view = patches(store, roi=(8, 12, 16), fraction=0.0).view
        rng = np.random.default_rng(0)

        corners = {view.corner(store[CASES[0]], rng, [1]) for _ in range(300)}

        assert corners == {(d, h, 0) for d in range(3) for h in range(3)}

    def test_a_foreground_patch_has_a_foreground_voxel_at_its_centre(self, store):
        dataset = patches(store, cases=CASES[:2], fraction=1.0)

        assert all(dataset[SampleKey(0, index)]["label"][0, 2, 3, 3] > 0 for index in range(30))

    def test_labels_are_centred_on_equally_often_however_small_they_are(self, store):
        dataset = patches(store, cases=CASES[:2], fraction=1.0)

        counts = Counter(int(dataset[SampleKey(0, index)]["label"][0, 2, 3, 3]) for index in range(400))

        # 432 voxels of label 1 and one of label 2 are drawn alike; five standard deviations are 50.
        assert set(counts) == {1, 2}
        assert abs(counts[1] - 200) < 50

    def test_only_the_labels_asked_for_are_centred_on(self, store):
        dataset = patches(store, cases=CASES[:2], fraction=1.0, labels=[2])

        assert all(dataset[SampleKey(0, index)]["label"][0, 2, 3, 3] == 2 for index in range(20))

    def test_a_case_without_foreground_gives_random_patches(self, store):
        dataset = patches(store, cases=CASES[2:], fraction=1.0)

        assert len({dataset[SampleKey(0, index)]["image"].numpy().tobytes() for index in range(10)}) > 5
        assert not dataset[SampleKey(0, 0)]["label"].any()

    def test_the_share_of_foreground_patches_is_the_one_asked_for(self, store):
        dataset = patches(store, cases=CASES[:1], fraction=0.3, labels=[2])  # that voxel lies in a corner of the volume

        centred = sum(int(dataset[SampleKey(0, index)]["label"][0, 2, 3, 3]) == 2 for index in range(400))

        assert abs(centred - 120) < 46  # five standard deviations; random patches never have it at their centre

    def test_beyond_the_border_there_is_air_and_background(self, store):
        sample = patches(store, cases=CASES[:1], fraction=1.0, labels=[2])[SampleKey(0, 0)]
        case = store[CASES[0]]

        # Label 2 is the voxel (0, 13, 15) of (10, 14, 16), and stands at (2, 3, 3) of the patch (5, 6, 7).
        expected = np.pad(case.image[0:3, 10:14, 12:16], ((2, 0), (0, 2), (0, 3)), constant_values=-1000)
        np.testing.assert_array_equal(hounsfield(sample), expected)
        assert sample["label"][0].count_nonzero() == 1 + np.count_nonzero(case.label[0:3, 10:14, 12:16] == 1)

    def test_a_volume_smaller_than_the_patch_lies_whole_inside_it(self, tmp_path):
        create_store(tmp_path, {})
        image = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
        add_case(tmp_path, "small", image=image, label=np.zeros(image.shape, np.uint8))
        dataset = patches(Store(tmp_path), cases=["small"], roi=(4, 5, 4), fraction=0.0)

        places = set()
        for index in range(60):
            box = hounsfield(dataset[SampleKey(0, index)])
            corner = np.argwhere(box > -1000).min(axis=0)
            d, h, w = corner
            np.testing.assert_array_equal(box[d : d + 2, h : h + 3, w : w + 4], image)
            assert np.count_nonzero(box == -1000) == box.size - image.size
            places.add((int(d), int(h), int(w)))

        assert places == {(d, h, 0) for d in range(3) for h in range(3)}

    def test_every_case_is_drawn_equally_often_over_an_epoch(self, store):
        # Every case has one HU everywhere, so that a sample tells which case it is of.
        for k, name in enumerate(CASES):
            add_case(store.path, f"plain_{k}", image=np.full(SHAPE, k, np.int16), label=store[name].label[...])
        dataset = patches(store, cases=["plain_0", "plain_1", "plain_2"], roi=(2, 2, 2), fraction=0.0)

        drawn = [int(hounsfield(dataset[key])[0, 0, 0]) for key in EpochSampler(12, batch_size=3)]

        assert Counter(drawn) == {0: 4, 1: 4, 2: 4}
        assert all(len(set(drawn[k : k + 3])) == 3 for k in range(0, 12, 3))
        assert len({tuple(drawn[k : k + 3]) for k in range(0, 12, 3)}) > 1  # the order changes

    def test_a_case_without_a_reference_is_refused_by_name(self, store):
        add_case(store.path, "case_00009")

        with pytest.raises(InputError, match="case_00009 has no reference segmentation"):
            patches(store, cases=["case_00009"])[SampleKey(0, 0)]


class TestReproducibility:
    @pytest.mark.parametrize("workers", [0, 1, 2])
    def test_any_number_of_workers_draws_the_same_bits(self, store, workers):
        dataset = patches(store, augment=augmentation())
        keys = list(EpochSampler(6, batch_size=2, epoch=3))
        expected = [dataset[key] for key in keys]

        loader = DataLoader(patches(store, augment=augmentation()), batch_size=2, sampler=keys, num_workers=workers)
        loaded = list(loader)

        for name in ("image", "label"):
            assert torch.equal(torch.cat([batch[name] for batch in loaded]), torch.stack([s[name] for s in expected]))

    def test_a_sample_does_not_depend_on_those_drawn_before_it(self, store):
        fresh, used = patches(store, augment=augmentation()), patches(store, augment=augmentation())
        for index in range(5):
            used[SampleKey(0, index)]

        assert torch.equal(fresh[SampleKey(1, 2)]["image"], used[SampleKey(1, 2)]["image"])

    def test_epochs_indices_and_seeds_differ(self, store):
        keys = [(seed, epoch, index) for seed in range(2) for epoch in range(2) for index in range(3)]
        samples = {
            patches(store, augment=augmentation(), seed=seed)[SampleKey(epoch, index)]["image"].numpy().tobytes()
            for seed, epoch, index in keys
        }

        assert len(samples) == len(keys)


def test_whole_cases_come_as_they_are_stored(store):
    dataset = WholeCaseDataset(store, CASES[1:], intensity=INTENSITY)
    sample = dataset[0]

    assert len(dataset) == 2
    assert sample["case"] == "case_00001"
    np.testing.assert_array_equal(hounsfield(sample), store["case_00001"].image[...])
    np.testing.assert_array_equal(sample["label"][0], store["case_00001"].label[...])
    assert sample["image"].shape == (1, *SHAPE)
