from collections import Counter

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, RandGaussianNoised, ScaleIntensityRange
from torch.utils.data import DataLoader

from kidney_lab.data.sampling import EpochSampler, SampleKey
from kidney_lab.data.views import PatchView, RoiView, SliceView, ViewDataset, WholeCaseDataset
from kidney_lab.data.views.datasets import normalize
from kidney_lab.errors import InputError
from kidney_lab.transforms.augment import Augment
from kidney_lab.transforms.spatial import RandSpatiald

CASES = ["case_00000", "case_00001", "case_00002"]
INTENSITY = ScaleIntensityRange(a_min=-1000, a_max=1000, b_min=-1.0, b_max=1.0, clip=True)
EPOCH = {"samples_per_epoch": 8, "val_samples": 2}
VIEWS = {
    "patches": PatchView(roi_size=(5, 6, 7), foreground_fraction=0.5, **EPOCH),
    "patches in the roi": PatchView(
        roi_size=(5, 6, 7), foreground_fraction=0.3, within="roi", margin_mm=2.0, label_weights={"kidney": 2}, **EPOCH
    ),
    "slices": SliceView(roi_size=(10, 12), neighbours=1, tumor_fraction=0.4, kidney_fraction=0.4, **EPOCH),
    "whole slices": SliceView(size=(12, 12), denoise="median", empty_fraction=0.2, kidney_fraction=0.5, **EPOCH),
    "roi": RoiView(size=(9, 14, 15), **EPOCH),
    "patches of the roi": RoiView(size=(9, 14, 15), patch_size=(6, 8, 8), foreground_fraction=0.5, **EPOCH),
}

every_view = pytest.mark.parametrize("name", VIEWS)


def augmentation(device="cpu") -> Augment:
    """Everything happens often: boxes of many shapes are read."""
    return Augment(
        spatial=RandSpatiald(
            rotate_prob=0.5, rotate_range=0.5, scale_prob=0.5, scale_range=(0.7, 1.4), flip_prob=0.5, elastic_prob=0.3,
            elastic_spacing=8.0, elastic_magnitude=2.0,
        ),
        intensity=Compose([RandGaussianNoised(keys="image", prob=0.7, std=0.1)]),
        device=device,
    )  # fmt: skip


def samples(store, name="patches", *, cases=CASES, augment=None, seed=0, annotation="majority") -> ViewDataset:
    return ViewDataset(
        store, cases, view=VIEWS[name], intensity=INTENSITY, augment=augment, labels=[1, 2, 3], seed=seed,
        annotation=annotation,
    )  # fmt: skip


def same(left, right) -> bool:
    return all(torch.equal(left[key], right[key]) for key in ("image", "label"))


def bits(sample) -> bytes:
    return sample["image"].numpy().tobytes() + sample["label"].numpy().tobytes()


def hounsfield(sample) -> np.ndarray:
    return np.rint(sample["image"].numpy() * 1000).astype(int)


class TestSamples:
    @every_view
    @pytest.mark.parametrize("augmented", [False, True])
    def test_they_are_what_networks_take(self, store, name, augmented):
        dataset = samples(store, name, augment=augmentation() if augmented else None)
        for index in range(8):
            sample = dataset[SampleKey(0, index)]

            assert set(sample) == {"image", "label", "case"}
            assert sample["image"].shape == (VIEWS[name].channels, *VIEWS[name].roi_size)
            assert sample["label"].shape == (1, *VIEWS[name].roi_size)
            assert len(VIEWS[name].roi_size) == VIEWS[name].spatial_dims
            assert (sample["image"].dtype, sample["label"].dtype) == (torch.float32, torch.uint8)
            assert not any(isinstance(value, MetaTensor) for value in sample.values())

    def test_image_and_label_are_of_one_place_in_the_store(self, store):
        dataset = samples(store, cases=CASES[:1])
        case = store[CASES[0]]
        padded = np.pad(case.image[...], 8, constant_values=-1000)
        labels = np.pad(case.label[...], 8)
        for index in range(12):
            sample = dataset[SampleKey(0, index)]
            box = hounsfield(sample)[0]
            windows = np.lib.stride_tricks.sliding_window_view(padded, box.shape)
            (corner,) = np.argwhere((windows == box).all(axis=(3, 4, 5)))
            d, h, w = (slice(c, c + n) for c, n in zip(corner, box.shape, strict=True))
            np.testing.assert_array_equal(sample["label"][0], labels[d, h, w])

    @every_view
    def test_an_augmentation_that_changes_nothing_reads_the_same_sample(self, store, name):
        still = Augment(spatial=RandSpatiald(rotate_prob=1.0, rotate_range=1e-9))  # yet it reads a larger box
        plain, moved = samples(store, name), samples(store, name, augment=still)
        for index in range(6):
            key = SampleKey(0, index)
            assert torch.equal(moved[key]["label"], plain[key]["label"])
            assert torch.allclose(moved[key]["image"], plain[key]["image"], atol=1e-4)

    def test_the_order_of_the_cases_is_drawn_apart_from_the_samples(self, store, monkeypatch):
        streams = []
        default_rng = np.random.default_rng
        monkeypatch.setattr(np.random, "default_rng", lambda seed: streams.append(tuple(seed)) or default_rng(seed))
        dataset = samples(store, cases=CASES[:1])
        for index in range(3):
            dataset[SampleKey(0, index)]

        assert len(streams) == len(set(streams)) == 6

    def test_every_case_is_drawn_equally_often_over_an_epoch(self, store, add_case):
        # Every case has one HU everywhere, so that a sample tells which case it is of.
        for k, name in enumerate(CASES):
            plain = np.full(store[name].shape, k, np.int16)
            add_case(store.path, f"plain_{k}", image=plain, label=store[name].label[...])
        dataset = samples(store, "slices", cases=["plain_0", "plain_1", "plain_2"])

        drawn = [int(hounsfield(dataset[key])[0, 5, 6]) for key in EpochSampler(12, batch_size=3)]

        assert Counter(drawn) == {0: 4, 1: 4, 2: 4}
        assert all(len(set(drawn[k : k + 3])) == 3 for k in range(0, 12, 3))
        assert len({tuple(drawn[k : k + 3]) for k in range(0, 12, 3)}) > 1  # the order changes

    @every_view
    def test_a_case_without_labels_gives_samples_without_labels(self, store, name):
        dataset = samples(store, name, cases=CASES[2:], augment=augmentation())

        assert not any(dataset[SampleKey(0, index)]["label"].any() for index in range(4))

    def test_a_case_without_a_reference_is_refused_by_name(self, store, add_case):
        add_case(store.path, "case_00009")

        with pytest.raises(InputError, match="case_00009 has no reference segmentation"):
            samples(store, cases=["case_00009"])[SampleKey(0, 0)]


class TestReproducibility:
    def epochs(self, dataset, *, workers=0, rank=0, world_size=1, batch_size=2, epochs=(0, 1)):
        """Batches of consecutive epochs, out of one loader."""
        sampler = EpochSampler(8, batch_size=batch_size, rank=rank, world_size=world_size)
        loader = DataLoader(
            dataset, batch_size=batch_size, sampler=sampler, num_workers=workers, persistent_workers=workers > 0
        )
        for epoch in epochs:
            sampler.set_epoch(epoch)
            yield list(loader)

    @every_view
    @pytest.mark.parametrize("workers", [1, 2])
    def test_any_number_of_workers_draws_the_same_bits(self, store, name, workers):
        alone = list(self.epochs(samples(store, name, augment=augmentation())))
        shared = list(self.epochs(samples(store, name, augment=augmentation()), workers=workers))

        for one, other in zip(alone, shared, strict=True):
            assert len(one) == len(other) == 4
            assert all(same(a, b) for a, b in zip(one, other, strict=True))

    @every_view
    @pytest.mark.parametrize("workers", [0, 1])
    def test_two_ranks_together_draw_what_one_draws(self, store, name, workers):
        alone = list(self.epochs(samples(store, name, augment=augmentation()), batch_size=4))
        ranks = [
            list(self.epochs(samples(store, name, augment=augmentation()), workers=workers, rank=rank, world_size=2))
            for rank in range(2)
        ]

        for epoch, whole in enumerate(alone):
            for step, batch in enumerate(whole):
                parts = [ranks[rank][epoch][step] for rank in range(2)]
                assert not same(*parts)
                assert all(torch.equal(torch.cat([p[key] for p in parts]), batch[key]) for key in ("image", "label"))

    @every_view
    def test_every_sample_of_every_epoch_and_seed_differs(self, store, name):
        keys = [(seed, epoch, index) for seed in range(2) for epoch in range(2) for index in range(3)]
        drawn = {
            bits(samples(store, name, augment=augmentation(), seed=seed)[SampleKey(epoch, index)])
            for seed, epoch, index in keys
        }

        assert len(drawn) == len(keys)

    @every_view
    def test_a_sample_does_not_depend_on_those_drawn_before_it(self, store, name):
        fresh = samples(store, name, augment=augmentation())
        used = samples(store, name, augment=augmentation())
        for index in range(5):
            used[SampleKey(0, index)]

        assert same(fresh[SampleKey(1, 2)], used[SampleKey(1, 2)])


class TestOnDevice:
    @every_view
    def test_samples_finished_later_are_those_finished_at_once(self, store, name):
        here, there = samples(store, name, augment=augmentation()), samples(store, name, augment=augmentation("gpu"))
        keys = [SampleKey(3, index) for index in range(6)]

        sent = [there[key] for key in keys]

        assert there.on_device
        assert not here.on_device
        assert all(same(there.finish_again(raw), here[key]) for raw, key in zip(sent, keys, strict=True))

    def test_they_are_sent_in_16_bits_in_the_box_that_the_augmentation_needs(self, store):
        dataset = samples(store, augment=augmentation("gpu"))

        sent = [dataset[SampleKey(0, index)] for index in range(8)]

        assert {raw["image"].dtype for raw in sent} == {torch.int16}
        assert all(raw["image"].shape[1:] == raw["label"].shape[1:] for raw in sent)
        assert len({raw["image"].shape for raw in sent}) > 2
        assert len({raw["seed"] for raw in sent}) == 8


class TestAnnotations:
    @pytest.fixture
    def annotated(self, store, add_case):
        """Each annotator labels the whole volume by his number, so that a sample tells who drew it."""
        for name in ("seen_0", "seen_1"):
            shape = store[CASES[0]].shape
            drawn = [np.full(shape, number, np.uint8) for number in (1, 2, 3)]
            add_case(store.path, name, label=np.full(shape, 9, np.uint8), annotations=drawn)
        return store

    def drawn(self, store, annotation, *, epochs=20, seed=0):
        """Annotator by case and epoch."""
        found = {}
        for name in ("seen_0", "seen_1"):
            dataset = samples(store, "whole slices", cases=["seen_0", "seen_1"], annotation=annotation, seed=seed)
            for epoch in range(epochs):
                for index in range(6):
                    place = np.random.default_rng([seed, epoch, index // 2, 11]).permutation(2)[index % 2]
                    if dataset.cases[place] == name:
                        values = dataset[SampleKey(epoch, index)]["label"]
                        found.setdefault((name, epoch), set()).add(int(values.max()))
        return found

    @pytest.mark.parametrize(("annotation", "value"), [("majority", 9), ("first", 1)])
    def test_the_majority_s_or_the_first_annotator_s_label_map_is_learned(self, annotated, annotation, value):
        assert set(map(frozenset, self.drawn(annotated, annotation, epochs=2).values())) == {frozenset({value})}

    def test_one_annotator_is_sampled_for_every_case_and_epoch(self, annotated):
        found = self.drawn(annotated, "sampled")

        assert all(len(values) == 1 for values in found.values())  # the same for all samples of a case and epoch
        chosen = {key: values.pop() for key, values in found.items()}
        counts = Counter(chosen.values())
        assert set(counts) == {1, 2, 3}
        assert max(counts.values()) < 30  # of 40
        assert any(chosen["seen_0", epoch] != chosen["seen_1", epoch] for epoch in range(20))

    def test_it_does_not_depend_on_anything_but_seed_epoch_and_case(self, annotated):
        assert self.drawn(annotated, "sampled", epochs=4) == self.drawn(annotated, "sampled", epochs=4)
        assert self.drawn(annotated, "sampled") != self.drawn(annotated, "sampled", seed=1)

    @pytest.mark.parametrize("annotation", ["first", "sampled"])
    def test_a_store_without_annotators_is_refused(self, store, annotation):
        with pytest.raises(InputError, match=rf"task=prepare with data\.annotation={annotation}"):
            samples(store, annotation=annotation)[SampleKey(0, 0)]


def test_normalised_images_are_plain_and_float32():
    image = torch.tensor([-1000, 0, 1000], dtype=torch.int16)[None, None]

    seen = normalize(image, INTENSITY)

    assert type(seen) is torch.Tensor
    assert seen.dtype == torch.float32
    assert seen.flatten().tolist() == [-1.0, 0.0, 1.0]


def test_whole_cases_come_as_they_are_stored(store):
    dataset = WholeCaseDataset(store, CASES[1:])
    sample = dataset[0]

    assert len(dataset) == 2
    assert sample["case"] == "case_00001"
    assert sample["image"].dtype == torch.int16  # the stage itself normalises what it cuts out
    np.testing.assert_array_equal(sample["image"][0], store["case_00001"].image[...])
    np.testing.assert_array_equal(sample["label"][0], store["case_00001"].label[...])
