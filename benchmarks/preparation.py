"""Times the preparation of one case against nnU-Net v2: reading, resampling, and everything from file to file.

    python benchmarks/preparation.py path/to/case_00000

The folder holds `imaging.nii.gz` and `segmentation.nii.gz` in KiTS's orientation; where the image is missing it is
synthesized around the segmentation first. Needs the package `nnunetv2` (`--only ours` does without). Every row is a
process of its own with one thread; seconds are medians, and MiB are the largest resident memory of the process, imports
and input included. Nothing is kept between repeats, the operators of the resampling included.

nnU-Net runs as it would for CT: `DefaultPreprocessor.run_case_save` with the plan of its default planner; it reads by
SimpleITK, crops to what is not zero, normalises, resamples and writes Blosc2 files. `kidney_lab` writes the same
volume to its store (`crop_to_body=false`), and, as is its default, the body's box alone.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from kidney_lab.data.kits import Case, in_memory
from kidney_lab.data.nifti import read_volume, write_volume
from kidney_lab.data.prepare import GridRecipe, prepare_store
from kidney_lab.data.resample import axis_operator, resample, resample_nearest
from kidney_lab.geometry import Spacing, Triple, Volume, grid_from_spacing
from kidney_lab.memory import peak_mib

IMAGE, LABEL = "imaging.nii.gz", "segmentation.nii.gz"
SPACING_MM: Spacing = (1.0, 0.78, 0.78)
LONG_SHAPE: Triple = (600, 512, 512)
LONG_SPACING_MM: Spacing = (1.0, 0.8, 0.8)
ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "BLOSC_NTHREADS",
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
    ),
    "1",
)
Call = Callable[[], Any]


def read_with_nibabel(folder: Path) -> Call:
    """Voxels as they lie in the file."""
    return lambda: np.asanyarray(nib.load(folder / IMAGE).dataobj)


def read_ours(folder: Path) -> Call:
    """Voxels in memory order, slices contiguous."""
    return lambda: in_memory(read_volume(folder / IMAGE))


def resample_nnunet(folder: Path, force_separate_z: bool | None = None) -> Call:
    """nnU-Net's default for images: order 3, and order 0 across slices that are more than 3 times as thick."""
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape

    volume, shape = load(folder)
    image = volume.array[None].astype(np.float32)
    return lambda: resample_data_or_seg_to_shape(
        image, shape, volume.grid.spacing, SPACING_MM, is_seg=False, order=3, force_separate_z=force_separate_z
    )


def resample_nnunet_3d(folder: Path) -> Call:
    """The same operation as ours: order 3 along every axis."""
    return resample_nnunet(folder, force_separate_z=False)


def resample_ours(folder: Path, dtype: type[np.float32] | type[np.int16] = np.float32) -> Call:
    """Order 3 along every axis, float32 to float32 as nnU-Net's."""
    volume, shape = load(folder)
    image = volume.array.astype(dtype)

    def call() -> NDArray[Any]:
        axis_operator.cache_clear()
        return resample(image, shape, dtype=dtype)

    return call


def resample_ours_int16(folder: Path) -> Call:
    """The same as the preparation does it: whole Hounsfield units to whole Hounsfield units."""
    return resample_ours(folder, np.int16)


def prepare_nnunet(folder: Path) -> Call:
    """From the two files to nnU-Net's preprocessed files."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    resampling = {"order_z": 0, "force_separate_z": None}
    configuration = {
        "architecture": {},  # not read by the preprocessor
        "spacing": list(SPACING_MM),
        "patch_size": [128, 128, 128],
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, **resampling},
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, **resampling},
    }
    intensities = {"mean": 100.0, "std": 77.0, "percentile_00_5": -60.0, "percentile_99_5": 300.0}
    plans = PlansManager(
        {
            "image_reader_writer": "SimpleITKIO",
            "transpose_forward": [2, 0, 1],  # SimpleITK reverses the axes; the planner puts the coarsest first
            "label_manager": "LabelManager",
            "foreground_intensity_properties_per_channel": {"0": intensities},
            "configurations": {"3d_fullres": configuration},
        }
    )
    labels = {"background": 0, "kidney": 1, "tumor": 2, "cyst": 3}
    dataset = {"labels": labels, "channel_names": {"0": "CT"}, "file_ending": ".nii.gz"}
    fullres = plans.get_configuration("3d_fullres")

    def call() -> None:
        with tempfile.TemporaryDirectory() as kept:
            DefaultPreprocessor(verbose=False).run_case_save(
                f"{kept}/case", [str(folder / IMAGE)], str(folder / LABEL), plans, fullres, dataset
            )

    return call


def prepare_ours(folder: Path, *, crop_to_body: bool = False) -> Call:
    """From the two files to a store."""
    case = Case(folder.name, folder / IMAGE, folder / LABEL)
    recipe = GridRecipe(spacing=SPACING_MM, crop_to_body=crop_to_body)

    def call() -> None:
        axis_operator.cache_clear()
        with tempfile.TemporaryDirectory() as root:
            prepare_store([case], recipe, Path(root), dataset="benchmark", workers=1, progress=False)

    return call


def prepare_ours_cropped(folder: Path) -> Call:
    """From the two files to a store, the body's box alone: the default."""
    return prepare_ours(folder, crop_to_body=True)


PARTS: dict[str, dict[str, Callable[[Path], Call]]] = {
    "reading": {"nibabel": read_with_nibabel, "kidney_lab": read_ours},
    "resampling": {
        "nnU-Net": resample_nnunet,
        "nnU-Net, no separate z": resample_nnunet_3d,
        "kidney_lab": resample_ours,
        "kidney_lab, int16": resample_ours_int16,
    },
    "case": {
        "nnU-Net": prepare_nnunet,
        "kidney_lab": prepare_ours,
        "kidney_lab, cropped to the body": prepare_ours_cropped,
    },
    "long": {"kidney_lab": prepare_ours},
}


def load(folder: Path) -> tuple[Volume, Triple]:
    """The image in memory order, and its shape at the target spacing."""
    volume = in_memory(read_volume(folder / IMAGE))
    return volume, GridRecipe(spacing=SPACING_MM).shape_for(volume.grid.shape, volume.grid.spacing)


def measure(call: Call, repeats: int) -> dict[str, float]:
    """Median seconds of a call, and the peak memory of this process in MiB."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return {"seconds": statistics.median(seconds), "mib": peak_mib()}


def measure_apart(part: str, name: str, folder: Path, repeats: int) -> dict[str, float]:
    """The same in a process of its own with one thread."""
    command = [sys.executable, __file__, str(folder), "--repeats", str(repeats), "--row", part, name]
    done = subprocess.run(command, env=os.environ | ONE_THREAD, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def print_part(part: str, folder: Path, *, only: str | None, repeats: int) -> None:
    """Measures the rows of a part and prints them, with the ratios to the first."""
    shape = read_volume(folder / LABEL).array.shape
    print(f"\n{part}: {' x '.join(map(str, shape))} voxels, median of {repeats}")
    first: dict[str, float] = {}
    for name in PARTS[part]:
        if only is not None and name.startswith("nnU-Net") != (only == "nnunet"):
            continue
        figures = measure_apart(part, name, folder, repeats)
        first = first or figures
        ratios = f"{first['seconds'] / figures['seconds']:7.1f} x as fast, {figures['mib'] / first['mib']:5.2f} memory"
        print(f"  {name:32}{figures['seconds']:8.2f} s {figures['mib']:6.0f} MiB {ratios}", flush=True)


def difference_to_scipy(folder: Path) -> float:
    """Largest difference in HU to `scipy.ndimage.zoom` on a block of the image, all of its slices."""
    volume, new = load(folder)
    block = volume.array[:, 128:288, 128:288]
    shape = (new[0], round(160 * new[1] / volume.grid.shape[1]), round(160 * new[2] / volume.grid.shape[2]))
    factors = [m / n for m, n in zip(shape, block.shape, strict=True)]
    zoomed = ndimage.zoom(block.astype(np.float64), factors, order=3, grid_mode=True, mode="nearest")
    return float(np.abs(resample(block, shape) - zoomed).max())


def with_image(folder: Path, temporary: Path) -> Path:
    """The folder itself, or, where it has no image, one with a synthesized image beside the same segmentation."""
    if (folder / IMAGE).is_file():
        return folder
    print(f"{folder.name} has no {IMAGE}: the image is synthesized, and noise compresses unlike a real scan's.")
    case = Case(folder.name, None, folder / LABEL, synthesize=True)
    write_volume(temporary / folder.name / IMAGE, case.read_image())
    (temporary / folder.name / LABEL).write_bytes((folder / LABEL).read_bytes())
    return temporary / folder.name


def long_case(folder: Path, temporary: Path) -> Path:
    """A case of 600 slices, with the segmentation stretched and a synthesized image kept as float64, as KiTS does."""
    path, grid = temporary / "case_99999", grid_from_spacing(LONG_SHAPE, LONG_SPACING_MM)
    label = resample_nearest(in_memory(read_volume(folder / LABEL)).array, LONG_SHAPE)
    write_volume(path / LABEL, Volume(label, grid))
    image = Case(path.name, None, path / LABEL, synthesize=True).read_image()
    write_volume(path / IMAGE, Volume(image.array.astype(np.float64), grid))
    return path


def main() -> None:
    """Prints a table for each part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case_folder", type=Path)
    parser.add_argument("--part", choices=PARTS, help="measure this part alone")
    parser.add_argument("--only", choices=("ours", "nnunet"), help="measure this side alone")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--row", nargs=2, help=argparse.SUPPRESS)  # one row, in a process that this script started
    arguments = parser.parse_args()
    folder, only, repeats = arguments.case_folder, arguments.only, arguments.repeats
    if arguments.row:
        part, name = arguments.row
        print(json.dumps(measure(PARTS[part][name](folder), repeats)))
        return
    if only != "ours" and importlib.util.find_spec("nnunetv2") is None:
        parser.error("nnU-Net is not installed: pip install nnunetv2, or give --only ours.")
    if not (folder / LABEL).is_file():
        parser.error(f"{folder} holds no {LABEL}; give the folder of a KiTS case.")
    with tempfile.TemporaryDirectory() as temporary:
        folder = with_image(folder, Path(temporary))
        for part in [arguments.part] if arguments.part else PARTS:
            if part == "long" and only == "nnunet":
                continue
            print_part(
                part, folder if part != "long" else long_case(folder, Path(temporary)), only=only, repeats=repeats
            )
            if part == "resampling":
                print(f"  largest difference to scipy.ndimage.zoom: {difference_to_scipy(folder):.1e} HU")


if __name__ == "__main__":
    main()
