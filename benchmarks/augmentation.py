"""Patches per second of one core: this project's fused augmentation beside nnU-Net's and MONAI's.

    python benchmarks/augmentation.py [--rounds 5] [--patches 40] [--only CONTENDER]

Every contender cuts patches of 128^3 from the same volume in memory (272 x 480 x 480 voxels, normalised float32, and a
uint8 label map with two kidneys, a tumor and a cyst) at the same places, a third of them centred on foreground as in
nnU-Net, and augments them as nnU-Net's default does. Row one has nnU-Net's probabilities, in row two every patch is
rotated and scaled. Cropping is timed, the volume's making is not.

- `kidney_lab`: `conf/augment/nnunet.yaml`, reading the box that the draw touches.
- `nnunet`: `nnUNetTrainer.get_training_transforms` of batchgeneratorsv2 on patches of its initial size, cropped and
  converted as its loader does.
- `monai`: the chain of MONAI dictionary transforms with the same content on patches of 128^3. Labels are nearest
  neighbours, which is less work, and one affine with the joint probability stands for rotation and scaling.
- `monai_linear`: the same with linear labels, which MONAI has by one map per class and argmax alone.

Each contender and row runs in a process of its own with one thread, in turns for the rounds. Rates are per second of
processor time; medians are printed, and of the ratios within a round. A busy machine disturbs both less. Peers that are
not installed are named and left out; run it with a Python that has `nnunetv2` and, for the rest, this checkout on
`PYTHONPATH`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROI = (128, 128, 128)
VOLUME = (272, 480, 480)
ROWS = {"default": "default probabilities", "always": "rotation and scaling always"}
ROTATION, SCALES = 30 / 180 * np.pi, (0.7, 1.4)

Image, Label = NDArray[np.float32], NDArray[np.uint8]
Patch = Callable[[tuple[int, ...], int], None]


def volume() -> tuple[Image, Label]:
    """A noisy image, mean 0 and standard deviation 1, and a label map of kidneys, tumor and cyst."""
    image = np.random.default_rng(0).standard_normal(VOLUME, dtype=np.float32)
    label = np.zeros(VOLUME, np.uint8)
    for value, centre, radii in (
        (1, (140, 270, 150), (75, 40, 36)),
        (1, (140, 270, 330), (75, 40, 36)),
        (2, (110, 260, 170), (28, 30, 30)),
        (3, (180, 285, 320), (12, 12, 12)),
    ):
        box = tuple(slice(c - r, c + r + 1) for c, r in zip(centre, radii, strict=True))
        axes = np.ogrid[tuple(slice(-1, 1, (2 * r + 1) * 1j) for r in radii)]
        label[box][sum(axis**2 for axis in axes) < 1] = value
    image += 0.5 * label
    return image, label


def centres(label: Label, patches: int, seed: int) -> Iterator[tuple[int, ...]]:
    """Centres of patches: every third on a foreground voxel, the others anywhere that the patch fits."""
    rng = np.random.default_rng(seed)
    foreground = np.argwhere(label)
    for k in range(patches):
        anywhere = [int(rng.integers(n // 2, size - n // 2 + 1)) for n, size in zip(ROI, VOLUME, strict=True)]
        yield tuple(map(int, foreground[rng.integers(len(foreground))])) if k % 3 == 0 else tuple(anywhere)


def cut(array: NDArray[np.generic], centre: tuple[int, ...], shape: tuple[int, ...]) -> NDArray[np.generic]:
    """Copies a box around `centre`, 0 beyond the array."""
    corner = [c - n // 2 for c, n in zip(centre, shape, strict=True)]
    inside = array[tuple(slice(max(0, a), a + n) for a, n in zip(corner, shape, strict=True))]
    if inside.shape == shape:
        return inside.copy()
    pad = [(max(0, -a), max(0, a + n - s)) for a, n, s in zip(corner, shape, array.shape, strict=True)]
    return np.pad(inside, pad)


def kidney_lab(image: Image, label: Label, row: str) -> Patch:
    """This project's recipe."""
    import torch
    from monai.bundle import ConfigParser

    path = Path(__file__).resolve().parents[1] / "conf" / "augment" / "nnunet.yaml"
    parser = ConfigParser({"augment": ConfigParser.load_config_file(path)})
    if row == "always":
        parser["augment"]["spatial"].update(rotate_prob=1.0, scale_prob=1.0)
    augment = parser.get_parsed_content("augment")

    def patch(centre: tuple[int, ...], seed: int) -> None:
        box = augment.draw(ROI, seed)
        arrays = {"image": cut(image, centre, box), "label": cut(label, centre, box)}
        result = augment({key: torch.from_numpy(array)[None] for key, array in arrays.items()})
        assert result["image"].shape == result["label"].shape == (1, *ROI)

    return patch


def nnunet(image: Image, label: Label, row: str) -> Patch:
    """nnU-Net's own pipeline, as its trainer builds it."""
    import torch
    from acvl_utils.cropping_and_padding.bounding_boxes import crop_and_pad_nd
    from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
    from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    angles = (-ROTATION, ROTATION)
    initial = [int(n) for n in get_patch_size(np.array(ROI), angles, angles, angles, (0.85, 1.25))]
    pipeline = nnUNetTrainer.get_training_transforms(np.array(ROI), angles, None, (0, 1, 2), False)
    spatial = next(part for part in pipeline.transforms if isinstance(part, SpatialTransform))
    if row == "always":
        spatial.p_rotation = spatial.p_scaling = 1.0
    data, labels = image[None], label.astype(np.int8)[None]

    def patch(centre: tuple[int, ...], seed: int) -> None:
        np.random.seed(seed)  # noqa: NPY002  the generator that the pipeline draws from
        torch.manual_seed(seed)
        corner = [c - n // 2 for c, n in zip(centre, initial, strict=True)]
        box = [[a, a + n] for a, n in zip(corner, initial, strict=True)]
        cropped = torch.from_numpy(crop_and_pad_nd(data, box, 0)).float()
        target = torch.from_numpy(crop_and_pad_nd(labels, box, -1, cast_cropped_to=np.int16)).to(torch.int16)
        result = pipeline(image=cropped, segmentation=target)
        assert result["image"].shape == result["segmentation"].shape == (1, *ROI)

    return patch


def monai(image: Image, label: Label, row: str, *, linear: bool = False) -> Patch:
    """MONAI's chain with the same content; labels as one map per class where they are interpolated linearly."""
    import monai.transforms as mt
    import torch

    both = {"keys": ["image", "label"]}
    transform = mt.Compose(
        [
            *([mt.AsDiscreted("label", to_onehot=4)] if linear else []),
            mt.RandAffined(
                **both,
                prob=1.0 if row == "always" else 1 - 0.8 * 0.8,
                rotate_range=[ROTATION] * 3,
                scale_range=[(SCALES[0] - 1, SCALES[1] - 1)] * 3,
                mode=["bilinear", "bilinear" if linear else "nearest"],
                padding_mode="zeros",
            ),
            mt.RandGaussianNoised("image", prob=0.1, std=0.1),
            mt.RandGaussianSmoothd("image", prob=0.1, sigma_x=(0.5, 1), sigma_y=(0.5, 1), sigma_z=(0.5, 1)),
            mt.RandScaleIntensityd("image", prob=0.15, factors=0.25),
            mt.RandScaleIntensityFixedMeand("image", prob=0.15, factors=0.25, preserve_range=True),
            mt.RandSimulateLowResolutiond("image", prob=0.125, zoom_range=(0.5, 1)),
            mt.RandAdjustContrastd("image", prob=0.1, gamma=(0.7, 1.5), invert_image=True, retain_stats=True),
            mt.RandAdjustContrastd("image", prob=0.3, gamma=(0.7, 1.5), retain_stats=True),
            *[mt.RandFlipd(**both, prob=0.5, spatial_axis=axis) for axis in range(3)],
            *([mt.AsDiscreted("label", argmax=True)] if linear else []),
        ]
    )

    def patch(centre: tuple[int, ...], seed: int) -> None:
        transform.set_random_state(seed=seed)
        arrays = {"image": cut(image, centre, ROI), "label": cut(label, centre, ROI)}
        result = transform({key: torch.from_numpy(array)[None] for key, array in arrays.items()})
        assert result["image"].shape == result["label"].shape == (1, *ROI)

    return patch


CONTENDERS: dict[str, Callable[[Image, Label, str], Patch]] = {
    "kidney_lab": kidney_lab,
    "nnunet": nnunet,
    "monai": monai,
    "monai_linear": partial(monai, linear=True),
}
PACKAGES = {"kidney_lab": "kidney_lab", "nnunet": "nnunetv2", "monai": "monai", "monai_linear": "monai"}


def measure(name: str, row: str, patches: int, seed: int) -> float:
    """Patches per second of processor time of one contender in this process, after three to warm up."""
    import torch

    torch.set_num_threads(1)
    image, label = volume()
    patch = CONTENDERS[name](image, label, row)
    for k, centre in enumerate(centres(label, 3, seed=1)):
        patch(centre, k)
    places = list(centres(label, patches, seed))
    began = time.process_time()
    for k, centre in enumerate(places):
        patch(centre, 1000 * seed + k)
    return patches / (time.process_time() - began)


def measured_apart(name: str, row: str, patches: int, seed: int) -> float:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--only", name, "--row", row, "--patches", str(patches), "--seed", str(seed)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=True)
    return float(json.loads(result.stdout.splitlines()[-1]))


def main() -> None:
    """Prints the table, or one contender's figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--patches", type=int, default=40)
    parser.add_argument("--only", choices=CONTENDERS, help="measure this one here and print its patches per second")
    parser.add_argument("--row", choices=ROWS, default="default")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(measure(arguments.only, arguments.row, arguments.patches, arguments.seed)))
        return
    names = [name for name, package in PACKAGES.items() if find_spec(package) is not None]
    rates: dict[tuple[str, str], list[float]] = {(row, name): [] for row in ROWS for name in names}
    for seed in range(arguments.rounds):
        for row, name in rates:
            rates[row, name].append(measured_apart(name, row, arguments.patches, seed))
    print(
        f"patches of {ROI} per second, one thread, median of {arguments.rounds} rounds of {arguments.patches} patches"
    )
    print("| | " + " | ".join(names) + " | " + " | ".join(f"kidney_lab / {name}" for name in names[1:]) + " |")
    print("|---" * (2 * len(names)) + "|")
    for row, title in ROWS.items():
        medians = [statistics.median(rates[row, name]) for name in names]
        ratios = [
            statistics.median(a / b for a, b in zip(rates[row, names[0]], rates[row, name], strict=True))
            for name in names[1:]
        ]
        print(f"| {title} | " + " | ".join(f"{value:.2f}" for value in (*medians, *ratios)) + " |")
    for name in PACKAGES.keys() - names:
        print(f"{name} was left out, because {PACKAGES[name]} is not installed.")


if __name__ == "__main__":
    main()
