import pickle
import re

import monai.transforms as mt
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from kidney_lab.composition.search_path import config_folder
from kidney_lab.data.statistics import IntensityStatistics
from kidney_lab.errors import InputError
from kidney_lab.transforms import Augment, RandSpatiald
from kidney_lab.transforms.normalize import foreground_normalizer

RECIPES = sorted(path.stem for path in (config_folder() / "augment").glob("*.yaml"))
VOLUMES = {"nnunet", "cascade_unet", "attention_vnet"}  # the others also take slices
ROI = (12, 20, 18)


def recipe(name) -> Augment:
    return instantiate(OmegaConf.load(config_folder() / "augment" / f"{name}.yaml"), _convert_="all")


def full() -> Augment:
    return Augment(
        RandSpatiald(rotate_prob=1.0, rotate_range=0.5, flip_prob=0.5),
        mt.Compose([mt.RandGaussianNoised("image", prob=1.0, std=0.1), mt.RandScaleIntensityd("image", 0.3, prob=0.5)]),
    )


def volume(box):
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, *box, generator=generator)
    return {"image": image, "label": (image > 0.7).to(torch.uint8)}


def augmented(augment, seed, roi_size=ROI):
    return augment(volume(augment.draw(roi_size, seed)))


def test_a_seed_is_a_sample():
    used = full()
    for seed in range(5):
        augmented(used, seed)

    one, again, other = augmented(full(), 7), augmented(used, 7), augmented(full(), 8)

    assert torch.equal(one["image"], again["image"])
    assert torch.equal(one["label"], again["label"])
    assert not torch.equal(one["image"], other["image"])


def test_another_copy_applies_the_same_draw():
    """As on a GPU: a loading process draws the box and reads it, the training process draws again and applies."""
    loader = full()
    trainer = pickle.loads(pickle.dumps(loader))
    box = loader.draw(ROI, 3)

    assert trainer.draw(ROI, 3) == box
    assert torch.equal(loader(volume(box))["image"], trainer(volume(box))["image"])


def test_the_box_is_centred_and_the_result_of_the_roi_s_size():
    augment = full()
    for seed in range(10):
        box = augment.draw(ROI, seed)
        result = augment(volume(box))

        assert all(b >= n and (b - n) % 2 == 0 for b, n in zip(box, ROI, strict=True))
        assert result["image"].shape == result["label"].shape == (1, *ROI)
    assert box != ROI


def test_without_transforms_the_sample_passes():
    augment = Augment()
    data = volume(augment.draw(ROI, 0))

    result = augment(data)

    assert result["image"] is data["image"]
    assert augment.draw([4, 5], 0) == (4, 5)


def test_intensities_change_the_image_alone_and_other_keys_pass():
    augment = Augment(intensity=mt.Compose([mt.RandGaussianNoised("image", prob=1.0, std=0.1)]))
    data = volume(augment.draw(ROI, 0)) | {"case": "case_00001", "heatmap": torch.ones(2)}

    result = augment(data)

    assert not torch.equal(result["image"], data["image"])
    assert result["label"] is data["label"]
    assert result["case"] == "case_00001"
    assert {type(result[key]) for key in ("image", "label", "heatmap")} == {torch.Tensor}


@pytest.mark.parametrize("wrong", [{"intensity": 5}, {"intensity": "noise"}, {"spatial": 5}, {"intensity": [1]}])
def test_what_is_no_transform_is_refused(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(InputError, match=rf"augment\.{name}={re.escape(str(value))} is no .*, or null"):
        Augment(**wrong)


def test_an_unknown_device_is_refused():
    with pytest.raises(InputError, match=r"augment\.device=cuda is unknown: write cpu or gpu"):
        Augment(device="cuda")


def test_drawing_comes_first():
    with pytest.raises(RuntimeError, match=r"Augment\.draw must be called"):
        Augment()({})


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_changes_volumes_and_slices_as_a_seed_says(name):
    for roi_size in (ROI, ROI[1:]) if name not in VOLUMES else (ROI,):
        augment = recipe(name)
        for seed in range(12):
            result = augmented(augment, seed, roi_size)

            assert result["image"].shape == result["label"].shape == (1, *roi_size)
            assert result["image"].dtype == torch.float32
            assert result["label"].dtype == torch.uint8
            assert torch.isfinite(result["image"]).all()
            assert set(result["label"].unique().tolist()) <= {0, 1}
            assert torch.equal(result["image"], augmented(recipe(name), seed, roi_size)["image"])


@pytest.mark.parametrize("name", RECIPES)
def test_every_transform_of_a_recipe_works_alone(name):
    intensity = recipe(name).intensity
    for transform in [] if intensity is None else intensity.transforms:
        data = volume(ROI)

        result = always(transform).set_random_state(0)(data)

        assert torch.isfinite(result["image"]).all()
        assert not torch.equal(result["image"], data["image"]), transform


PAPERS = {  # augmentation and window of one recipe: the range that they meet in
    ("attention_vnet", "attention_vnet"): (0, 1),
    ("attention_vnet", "attention_vnet_zscore"): (-2, 2),
    ("cascade_unet", "cascade_unet"): (-2, 2),
    ("default", "kits19_winner"): (-1, 1),
    ("ernet", "ernet"): (0, 1),
    ("msalds", "msalds"): (0, 1),
}


def window(name):
    """Intensities of a recipe; where they need statistics, those of a foreground of 50 HU and 100 HU deviation."""
    intensity = instantiate(OmegaConf.load(config_folder() / "intensity" / f"{name}.yaml"), _convert_="all")
    normalizer = foreground_normalizer(intensity)
    if normalizer is not None:
        lower, upper = normalizer.window or (-150, 250)
        normalizer.statistics = IntensityStatistics(lower, upper, mean=50, std=100, n=1)
    return intensity


def always(transform) -> mt.Compose:
    """A dictionary transform that changes every sample; its probability is its own or that of what it wraps."""
    for part in (transform, *vars(transform).values()):
        if isinstance(part, mt.RandomizableTransform):
            part.prob = 1.0
    return mt.Compose([transform])


@pytest.mark.parametrize(("augment", "intensity"), PAPERS, ids=map(" with ".join, PAPERS))
def test_the_strength_of_a_recipe_is_that_of_its_intensities(augment, intensity):
    low, high = PAPERS[augment, intensity]
    hounsfield = torch.linspace(-1000, 1000, 40 * 40).reshape(1, 1, 40, 40).expand(1, 8, 40, 40)
    seen = torch.as_tensor(window(intensity)(hounsfield)).as_subclass(torch.Tensor)
    chosen = recipe(augment).intensity

    assert low <= seen.min() < seen.max() <= high
    for transform in [] if chosen is None else chosen.transforms:
        changed = always(transform).set_random_state(1)({"image": seen})["image"]
        moved = (changed - seen).abs().max() / (high - low)
        assert 0.01 < moved <= 1, transform
        assert low - 0.5 * (high - low) <= changed.min() < changed.max() <= high + 0.5 * (high - low)


def test_the_noise_of_msalds_is_black_white_and_5_of_255():
    grey = torch.as_tensor(window("msalds")(torch.full((1, 100, 100), 140.0))).as_subclass(torch.Tensor)
    salt_and_pepper, gaussian = recipe("msalds").intensity.transforms

    spotted = always(salt_and_pepper).set_random_state(0)({"image": grey})["image"]
    noisy = always(gaussian).set_random_state(0)({"image": grey})["image"]

    assert spotted.unique().tolist() == [0, 0.5, 1]
    assert (spotted != 0.5).float().mean() == pytest.approx(0.01, abs=0.004)
    assert 255 * (noisy - grey).std() == pytest.approx(5, rel=0.05)


def test_nnunet_s_recipe_leaves_as_many_patches_alone_as_nnunet_does():
    """Neither rotated nor scaled nor mirrored: 0.8 * 0.8 / 8; intensities as they were: the product of all others."""
    augment = recipe("nnunet")
    still, unchanged = 0, 0
    for seed in range(600):
        augment.draw((4, 4, 4), seed)
        draw = augment.spatial.drawn
        still += draw.deformation is None and not draw.flips
        image = torch.arange(64.0).reshape(1, 4, 4, 4)
        unchanged += torch.equal(augment.intensity({"image": image})["image"], image)

    assert still / 600 == pytest.approx(0.08, abs=0.045)  # standard deviation 0.011
    assert unchanged / 600 == pytest.approx(0.9 * 0.9 * 0.85**2 * 0.875 * 0.9 * 0.7, abs=0.075)  # 0.018
