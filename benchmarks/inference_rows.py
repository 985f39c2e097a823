"""One row of `benchmarks/inference.py`, in a process of its own: prints its figures as JSON.

Rows of nnU-Net need `nnunetv2`, those of `kidney_lab` the package, and both MONAI for the network; nothing is imported
before it is needed, since imports count as memory.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kidney_lab.memory import peak_mib, reset_peak

CLASSES = ("kidney", "tumor", "cyst")
CLIP_HU, MEAN_HU, STD_HU = (-80.0, 300.0), 100.0, 75.0
OVERLAP = 0.5
CPU = torch.device("cpu")
Labels = NDArray[np.uint8]


class Job:
    """What a row works on.

    Args:
        folder: that the benchmark has filled.
        network: `pointwise` (one convolution of single voxels: bookkeeping alone) or `small`.
        grid: name of the volume, int16 HU.
    """

    def __init__(self, folder: Path, network: str, grid: str) -> None:
        self.folder, self.grid = folder, grid
        self.settings = json.loads((folder / "settings.json").read_text())
        self.roi_size: tuple[int, int, int] = tuple(self.settings["roi_size"])
        self.network = network_of(network, self.settings["filters"]).eval()
        if network == "small":
            self.network.load_state_dict(torch.load(folder / "small.pt", weights_only=True))
        self.windows = 0
        self.network.register_forward_pre_hook(self._count)

    def volume(self) -> NDArray[np.int16]:
        """The volume `(D, H, W)`, HU."""
        volume: NDArray[np.int16] = np.load(self.folder / f"{self.grid}.npy")
        return volume

    def normalized(self) -> Tensor:
        """The volume as the network sees it, float32 `(1, D, H, W)`, which is what the peers' functions take."""
        values = torch.from_numpy(self.volume()).float()[None]
        return values.clamp_(*CLIP_HU).sub_(MEAN_HU).div_(STD_HU)

    def _count(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.windows += len(inputs[0])


def network_of(name: str, filters: Sequence[int]) -> nn.Module:
    """The same network for all contenders; the one of single voxels takes what is bright for kidney."""
    torch.manual_seed(0)
    if name == "pointwise":
        pointwise = nn.Conv3d(1, 1 + len(CLASSES), 1)
        pointwise.load_state_dict(
            {
                "weight": torch.tensor([0.0, 10.0, 0.0, 0.0]).view(-1, 1, 1, 1, 1),
                "bias": torch.tensor([0.0, -5.0, -9.0, -9.0]),
            }
        )
        return pointwise
    from monai.networks.nets import DynUNet

    network: nn.Module = DynUNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=1 + len(CLASSES),
        kernel_size=[3] * len(filters),
        strides=[1, *[2] * (len(filters) - 1)],
        upsample_kernel_size=[2] * (len(filters) - 1),
        filters=list(filters),
        norm_name="batch",  # what a voxel is called depends little on where a window ends
    )
    return network


def stage_of(job: Job, spacing: Sequence[float]) -> Any:
    """The network as a stage of `kidney_lab`; whatever trains it is of no matter."""
    from monai.inferers import SlidingWindowInferer
    from monai.losses import DiceCELoss
    from monai.transforms import ScaleIntensityRange
    from torch.optim import SGD
    from torch.optim.lr_scheduler import ConstantLR

    from kidney_lab.data.prepare import GridRecipe
    from kidney_lab.data.views import PatchView
    from kidney_lab.methods.output import LabelOutput
    from kidney_lab.methods.stage import Stage
    from kidney_lab.methods.supervised import SupervisedSegmentation
    from kidney_lab.transforms import Augment

    module = SupervisedSegmentation(
        network=job.network,
        loss=DiceCELoss(softmax=True),
        optimizer=partial(SGD, lr=0.1),
        scheduler=partial(ConstantLR, factor=1.0),
        output=LabelOutput(CLASSES, ["kidney_and_mass", "mass", "tumor"]),
    )
    low, high = ((hu - MEAN_HU) / STD_HU for hu in CLIP_HU)
    return Stage(
        module=module.eval(),
        view=PatchView(roi_size=job.roi_size, samples_per_epoch=1, val_samples=1, foreground_fraction=0.5),
        augment=Augment(),
        intensity=ScaleIntensityRange(a_min=CLIP_HU[0], a_max=CLIP_HU[1], b_min=low, b_max=high, clip=True),
        inferer=SlidingWindowInferer(roi_size=job.roi_size, overlap=OVERLAP, mode="gaussian"),
        grid=GridRecipe(spacing=tuple(spacing)),
        batch_size=1,
    )


def bfloat16() -> AbstractContextManager[object]:
    """Autocast as the networks of a training in bf16-mixed have it."""
    return torch.autocast("cpu", dtype=torch.bfloat16)


def forwards(job: Job, context: Callable[[], AbstractContextManager[object]] = nullcontext) -> Callable[[], None]:
    """As many forward passes as there are windows, and nothing else."""
    from kidney_lab.methods.windows import window_corners

    window = torch.randn(1, 1, *job.roi_size)
    number = len(window_corners(job.volume().shape, job.roi_size, OVERLAP))

    def call() -> None:
        for _ in range(number):
            with torch.no_grad(), context():
                job.network(window)

    return call


def ours(
    job: Job,
    context: Callable[[], AbstractContextManager[object]] = nullcontext,
    *,
    skip_air: bool = False,
    crop_to_body: bool = False,
) -> Callable[[], Labels]:
    """Windows and labels of a stage on its own grid; cropped as the preparation does it, where that is asked for."""
    from kidney_lab.data.body import body_box
    from kidney_lab.methods.inference_settings import InferenceSettings

    stage, volume = stage_of(job, (1.0, 1.0, 1.0)), job.volume()
    shape, settings = volume.shape, InferenceSettings(skip_air=skip_air)
    box = body_box(volume) if crop_to_body else tuple(slice(0, n) for n in shape)
    image = torch.from_numpy(np.ascontiguousarray(volume[box]))[None]
    del volume

    def call() -> Labels:
        predicted = stage.predict(image, None, settings=settings, context=context)
        labels: Labels = predicted.labels(stage.module.output.decide).numpy()
        if not crop_to_body:
            return labels
        pasted = np.zeros(shape, np.uint8)
        pasted[box] = labels
        return pasted

    return call


def monai(job: Job) -> Callable[[], Labels]:
    """MONAI's sliding window and torch's argmax, which its `AsDiscrete` calls."""
    from monai.inferers import sliding_window_inference

    image = job.normalized()[None]

    def call() -> Labels:
        with torch.no_grad():
            logits = sliding_window_inference(image, job.roi_size, 1, job.network, overlap=OVERLAP, mode="gaussian")
        return logits.argmax(dim=1)[0].to(torch.uint8).numpy()

    return call


def nnunet(job: Job) -> Callable[[], Labels]:
    """nnU-Net's predictor without mirroring, and its own decision on labels."""
    predictor, image = nnunet_predictor(job), job.normalized()

    def call() -> Labels:
        logits = predictor.predict_logits_from_preprocessed_data(image)
        labels = predictor.label_manager.convert_logits_to_segmentation(logits)
        return torch.as_tensor(labels).to(torch.uint8).numpy()

    return call


def from_file_ours(job: Job, precision: str = "32-true", *, clean: bool = False) -> Callable[[], Labels]:
    """From a scan's file to its label map's: read, prepare, predict, back to the grid, post-process if asked, write."""
    from kidney_lab.data.nifti import read_volume, write_volume
    from kidney_lab.inference.method import TrainedMethod
    from kidney_lab.inference.postprocessing import PostProcessing

    method = TrainedMethod(
        {"segmentation": stage_of(job, job.settings["spacing"])},
        device=CPU,
        precision=precision,
        postprocessing=PostProcessing() if clean else PostProcessing("all", False),
    )

    def call() -> Labels:
        labels = method.segment_volume(read_volume(job.folder / f"{job.grid}.nii.gz"))
        write_volume(job.folder / "ours.nii.gz", labels)
        return labels.array

    return call


def from_file_nnunet(job: Job) -> Callable[[], Labels]:
    """The same by nnU-Net's pipeline in one process."""
    import nibabel as nib

    predictor = nnunet_predictor(job)

    def call() -> Labels:
        predictor.predict_from_files_sequential(
            [[str(job.folder / f"{job.grid}.nii.gz")]], [str(job.folder / "nnunet")]
        )
        image: Any = nib.load(job.folder / "nnunet.nii.gz")
        return np.asanyarray(image.dataobj).astype(np.uint8)

    return call


def nnunet_predictor(job: Job) -> Any:
    """nnU-Net's predictor with the network, a plan of the benchmark's grid, and default resampling."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    separate_z = {"order_z": 0, "force_separate_z": None}
    resampling = "resample_data_or_seg_to_shape"
    configuration = {
        "preprocessor_name": "DefaultPreprocessor",
        "architecture": {},  # the network is given
        "spacing": job.settings["spacing"],
        "patch_size": list(job.roi_size),
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": resampling,
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, **separate_z},
        "resampling_fn_seg": resampling,
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, **separate_z},
        "resampling_fn_probabilities": resampling,
        "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, **separate_z},
    }
    intensities = {"mean": MEAN_HU, "std": STD_HU, "percentile_00_5": CLIP_HU[0], "percentile_99_5": CLIP_HU[1]}
    plans = PlansManager(
        {
            "image_reader_writer": "SimpleITKIO",
            "transpose_forward": [2, 1, 0],  # SimpleITK reverses the file's axes (D, H, W)
            "transpose_backward": [2, 1, 0],
            "label_manager": "LabelManager",
            "foreground_intensity_properties_per_channel": {"0": intensities},
            "configurations": {"3d_fullres": configuration},
        }
    )
    dataset = {
        "labels": {"background": 0} | {name: value for value, name in enumerate(CLASSES, start=1)},
        "channel_names": {"0": "CT"},
        "file_ending": ".nii.gz",
    }
    predictor = nnUNetPredictor(tile_step_size=1 - OVERLAP, use_mirroring=False, device=CPU, allow_tqdm=False)
    fullres, weights = plans.get_configuration("3d_fullres"), job.network.state_dict()
    predictor.manual_initialization(job.network, plans, fullres, [weights], dataset, "nnUNetTrainer", None)
    return predictor


ROWS: dict[str, Callable[[Job], Callable[[], Labels | None]]] = {
    "forwards": forwards,
    "forwards, bf16": partial(forwards, context=bfloat16),
    "kidney_lab": ours,
    "kidney_lab, bf16": partial(ours, context=bfloat16),
    "kidney_lab, without air": partial(ours, skip_air=True),
    "kidney_lab, cropped to the body": partial(ours, skip_air=True, crop_to_body=True),
    "kidney_lab, bf16, without air": partial(ours, context=bfloat16, skip_air=True),
    "MONAI": monai,
    "nnU-Net": nnunet,
    "kidney_lab, file to file": from_file_ours,
    "kidney_lab, bf16, file to file": partial(from_file_ours, precision="bf16-mixed"),
    "kidney_lab, file to file, clean": partial(from_file_ours, clean=True),
    "nnU-Net, file to file": from_file_nnunet,
}


def measure(row: str, job: Job) -> dict[str, float]:
    """Seconds, windows, and the largest memory of this process, whole and above what it began with, MiB."""
    call = ROWS[row](job)
    reset_peak()
    begun, start = peak_mib(), time.perf_counter()
    labels = call()
    figures = {"seconds": time.perf_counter() - start, "mib": peak_mib(), "added_mib": peak_mib() - begun}
    if labels is not None:
        np.save(job.folder / "labels.npy", labels)
    return figures | {"windows": job.windows}


if __name__ == "__main__":
    name, *given = sys.argv[1:]
    print(json.dumps(measure(name, Job(Path(given[0]), *given[1:]))))
