"""Times the segmentation of one scan against MONAI's sliding window and nnU-Net's predictor: same network and windows.

    python benchmarks/inference.py [--nnunet-python PYTHON] [--quick] [--parts windows network files long]

The scan is painted: a body with kidneys, a tumor and a cyst, 109 x 512 x 512 voxels of 2.5 x 0.742 x 0.742 mm. Windows
overlap by half and are weighed by a Gaussian; nothing is mirrored. Every row is a process of its own, and MiB are its
largest resident memory, imports included; "added" is what came on top once it had read its input. Parts:

- windows: bookkeeping alone (a convolution of single voxels) on the scan at 1.0 x 0.78 x 0.78 mm, to a label map
  there; ours also on the box of the body alone, as it prepares scans by default.
- network: a small DynUNet, which learns the painted scan for half a minute first, at a coarser spacing (`--spacing`),
  beside as many bare forward passes; in float32 and bfloat16, and without windows of air.
- files: the same network from file to file: read, resample, predict, back to the scan's grid, write. nnU-Net runs its
  own pipeline in one process (`predict_from_files_sequential`), which has no bfloat16 on a CPU.
- long: bookkeeping from file to file of 800 x 512 x 512 voxels, for the memory, post-processed; ours alone.

nnU-Net's rows need a Python with `nnunetv2` and `monai` (`--nnunet-python`; none: they are left out).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from inference_rows import CLIP_HU, MEAN_HU, STD_HU, network_of
from monai.losses import DiceCELoss
from numpy.typing import NDArray

from kidney_lab.data.nifti import write_volume
from kidney_lab.data.prepare import GridRecipe, prepare_image, prepare_label
from kidney_lab.geometry import Spacing, Triple, Volume, grid_from_spacing

ROOT = Path(__file__).resolve().parents[1]
LONG_SPACING_MM: Spacing = (1.0, 0.742, 0.742)
PARTS = ("windows", "network", "files", "long")
FILTERS = (8, 16, 32, 64)
BODY_MM, FAT_MM = (125.0, 170.0), 15.0
# centre (from the middle of the scan) and half axes in mm (D, H, W), HU, label; later ones lie over earlier ones
ORGANS = (
    ((0.0, 60.0, 0.0), (1e6, 20.0, 20.0), 350.0, 0),  # the spine
    ((0.0, 20.0, -75.0), (55.0, 26.0, 28.0), 170.0, 1),
    ((8.0, 20.0, 75.0), (55.0, 26.0, 28.0), 170.0, 1),
    ((15.0, 8.0, -85.0), (17.0, 17.0, 17.0), 90.0, 2),
    ((-20.0, 25.0, 90.0), (12.0, 12.0, 12.0), 5.0, 3),
)
Figures = dict[str, float]


def paint(shape: Triple, spacing: Spacing) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """A scan in Hounsfield units and its label map, a slice at a time."""
    image, label = np.empty(shape, np.int16), np.zeros(shape, np.uint8)
    z, y, x = ((np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(shape, spacing, strict=True))
    rng = np.random.default_rng(0)
    radius = np.hypot(y[:, None] / BODY_MM[0], x[None] / BODY_MM[1])
    body = np.where(radius < 1 - FAT_MM / BODY_MM[0], 45.0, np.where(radius < 1, -90.0, -1000.0))
    for k, depth in enumerate(z):
        plane = body.copy()
        for (d, h, w), (a, b, c), hu, value in ORGANS:
            inside = ((depth - d) / a) ** 2 + ((y[:, None] - h) / b) ** 2 + ((x[None] - w) / c) ** 2 < 1
            plane[inside], label[k][inside] = hu, value
        image[k] = plane + rng.normal(0, 15, plane.shape)
    return image, label


def learn(image: NDArray[np.int16], label: NDArray[np.uint8], *, steps: int, side: int) -> dict[str, torch.Tensor]:
    """Weights of the small network after some steps on cubes about labelled voxels."""
    network, rng = network_of("small", FILTERS), np.random.default_rng(0)
    optimizer, loss = torch.optim.AdamW(network.parameters(), lr=3e-3), DiceCELoss(to_onehot_y=True, softmax=True)
    seen = (np.clip(image, *CLIP_HU).astype(np.float32) - MEAN_HU) / STD_HU
    places = [np.argwhere(label == value) for value in (0, 1, 2, 3)]
    for _ in range(steps):
        cubes = []
        for value in rng.permutation(4)[:2]:
            centre = places[value][rng.integers(len(places[value]))]
            first = [int(np.clip(c - side // 2, 0, n - side)) for c, n in zip(centre, image.shape, strict=True)]
            cubes.append(tuple(slice(start, start + side) for start in first))
        batch = torch.from_numpy(np.stack([seen[cube] for cube in cubes]))[:, None]
        wanted = torch.from_numpy(np.stack([label[cube] for cube in cubes]))[:, None]
        optimizer.zero_grad()
        loss(network(batch), wanted).backward()
        optimizer.step()
    return dict(network.state_dict())


class Benchmark:
    """Runs rows and prints them.

    Args:
        folder: that holds what they work on.
        nnunet_python: a Python that has nnU-Net; None leaves its rows out.
        roi_size: of a window.
    """

    def __init__(self, folder: Path, *, nnunet_python: str | None, roi_size: Sequence[int]) -> None:
        self.folder, self.nnunet_python, self.roi_size = folder, nnunet_python, list(roi_size)

    def work_on(self, spacing: Spacing) -> None:
        """Tells the rows to come what grid they work on, mm."""
        settings = {"roi_size": self.roi_size, "spacing": list(spacing), "filters": FILTERS}
        (self.folder / "settings.json").write_text(json.dumps(settings))

    def run(self, row: str, network: str, grid: str) -> tuple[Figures, NDArray[np.uint8] | None] | None:
        """Figures of a row and its label map, if it makes one; None where its Python is missing."""
        python = self.nnunet_python if row.startswith("nnU-Net") else sys.executable
        if python is None:
            return None
        labels = self.folder / "labels.npy"
        labels.unlink(missing_ok=True)
        command = [python, str(ROOT / "benchmarks" / "inference_rows.py"), row, str(self.folder), network, grid]
        homes = {f"nnUNet_{name}": str(self.folder) for name in ("raw", "preprocessed", "results")}
        done = subprocess.run(
            command, env=os.environ | homes | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True, check=True
        )
        return json.loads(done.stdout.splitlines()[-1]), np.load(labels) if labels.is_file() else None

    def part(self, rows: Sequence[str], network: str, grid: str) -> dict[str, Figures]:
        """Runs rows and prints them, each beside what its label map shares with the first one's."""
        figures: dict[str, Figures] = {}
        first: NDArray[np.uint8] | None = None
        for row in rows:
            done = self.run(row, network, grid)
            if done is None:
                continue
            figures[row], labels = done
            first = labels if first is None else first
            one = figures[row]
            words = f"{one['seconds']:8.1f} s {one['mib']:7.0f} MiB ({one['added_mib']:6.0f} added)"
            off = "" if labels is None or first is None else f"  {differing(labels, first):.3%} of foreground differ"
            print(f"  {row:34}{words} {one['windows']:5.0f} windows{off}", flush=True)
        return figures


def differing(labels: NDArray[np.uint8], reference: NDArray[np.uint8]) -> float:
    """Voxels in which a label map differs, as a share of the reference's foreground."""
    return float(np.count_nonzero(labels != reference) / max(1, np.count_nonzero(reference)))


def target(figures: dict[str, Figures], row: str, other: str, key: str, bound: float) -> None:
    """Prints a ratio of two rows beside what it must not exceed."""
    if row in figures and other in figures:
        ratio = figures[row][key] / figures[other][key]
        met = "met" if ratio <= bound else "MISSED"
        print(f"    {key} of {row} / {other}: {ratio:.2f} (at most {bound}: {met})")


def windows_part(benchmark: Benchmark, scan: Volume, spacing: Spacing) -> None:
    """Bookkeeping alone, at full size."""
    benchmark.work_on(spacing)
    fine = prepare_image(scan, GridRecipe(spacing=spacing, crop_to_body=False)).array
    np.save(benchmark.folder / "fine.npy", fine)
    cropped = "kidney_lab, cropped to the body"  # as the preparation does by default
    print(f"\nwindows: bookkeeping alone, {' x '.join(map(str, fine.shape))} voxels")
    figures = benchmark.part(["kidney_lab", cropped, "MONAI", "nnU-Net"], "pointwise", "fine")
    for row, key in ((row, key) for row in ("kidney_lab", cropped) for key in ("mib", "added_mib")):
        target(figures, row, "MONAI", key, 0.7)
        target(figures, row, "nnU-Net", key, 0.5)


def network_part(benchmark: Benchmark) -> None:
    """A real network, beside bare forward passes."""
    shape = np.load(benchmark.folder / "coarse.npy", mmap_mode="r").shape
    print(f"\nnetwork: DynUNet of {FILTERS} filters, {' x '.join(map(str, shape))} voxels")
    rows = ["kidney_lab", "forwards", "MONAI", "nnU-Net", "kidney_lab, without air"]
    halves = ["kidney_lab, bf16", "forwards, bf16", "kidney_lab, bf16, without air"]
    figures = benchmark.part([*rows, *halves], "small", "coarse")
    target(figures, "kidney_lab", "forwards", "seconds", 1.1)
    target(figures, "kidney_lab, bf16", "forwards, bf16", "seconds", 1.1)
    target(figures, "kidney_lab, bf16", "kidney_lab", "seconds", 0.4)


def files_part(benchmark: Benchmark) -> None:
    """From file to file."""
    print("\nfiles: from the scan's file to its label map's, the same network")
    rows = ["kidney_lab, file to file", "kidney_lab, bf16, file to file", "nnU-Net, file to file"]
    figures = benchmark.part(rows, "small", "case")
    for row in rows[:2]:
        target(figures, row, rows[2], "seconds", 0.5)
        target(figures, row, rows[2], "mib", 0.5)


def long_part(benchmark: Benchmark, shape: Triple, spacing: Spacing) -> None:
    """The memory that a long scan takes."""
    benchmark.work_on(spacing)
    grid = grid_from_spacing(shape, LONG_SPACING_MM)
    write_volume(benchmark.folder / "long.nii.gz", Volume(paint(shape, LONG_SPACING_MM)[0], grid))
    print(f"\nlong: {' x '.join(map(str, shape))} voxels from file to file, bookkeeping alone")
    row = "kidney_lab, file to file, clean"
    figures = benchmark.part([row], "pointwise", "long")
    print(f"    {figures[row]['mib'] / 1024:.2f} GiB (at most 6)")


@dataclass(frozen=True)
class Size:
    """How large the benchmark's volumes are."""

    shape: Triple = (109, 512, 512)
    spacing: Spacing = (2.5, 0.742, 0.742)
    fine: Spacing = (1.0, 0.78, 0.78)
    coarse: Spacing = (2.5, 1.5, 1.5)
    roi: Triple = (96, 96, 96)
    long: Triple = (800, 512, 512)
    steps: int = 60


QUICK = Size((40, 128, 128), (6.0, 3.0, 3.0), (4.0, 2.5, 2.5), (6.0, 4.0, 4.0), (32, 32, 32), (80, 128, 128), 10)


def run_parts(benchmark: Benchmark, parts: Sequence[str], size: Size) -> None:
    """Paints the scan and runs the parts that are asked for."""
    folder = benchmark.folder
    image, label = paint(size.shape, size.spacing)
    scan = Volume(image, grid_from_spacing(size.shape, size.spacing))
    if "windows" in parts:
        windows_part(benchmark, scan, size.fine)
    if {"network", "files"} & {*parts}:
        prepared = prepare_image(scan, GridRecipe(spacing=size.coarse, crop_to_body=False))
        np.save(folder / "coarse.npy", prepared.array)
        learnt = learn(prepared.array, prepare_label(label, prepared), steps=size.steps, side=min(48, *size.roi))
        torch.save(learnt, folder / "small.pt")
        write_volume(folder / "case.nii.gz", scan)
        benchmark.work_on(size.coarse)
    if "network" in parts:
        network_part(benchmark)
    if "files" in parts:
        files_part(benchmark)
    if "long" in parts:
        long_part(benchmark, size.long, size.fine)


def main() -> None:
    """Prints all parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nnunet-python", help="a Python with nnunetv2 and monai")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--spacing", nargs=3, type=float, help="of the network's grid, mm (2.5 1.5 1.5)")
    parser.add_argument("--roi-size", nargs=3, type=int, help="of a window, voxels (96 96 96)")
    parser.add_argument("--quick", action="store_true", help="small volumes, to see that it works")
    arguments = parser.parse_args()
    size = QUICK if arguments.quick else Size()
    size = replace(size, coarse=tuple(arguments.spacing or size.coarse), roi=tuple(arguments.roi_size or size.roi))
    with tempfile.TemporaryDirectory() as temporary:
        benchmark = Benchmark(Path(temporary), nnunet_python=arguments.nnunet_python, roi_size=size.roi)
        run_parts(benchmark, arguments.parts, size)


if __name__ == "__main__":
    main()
