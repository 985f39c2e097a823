"""What bounds an epoch: the disk, decoding, augmentation or the network?

Times every part of a training sample, from the store to the network, and the whole loader with its processes. One
thread for the loader's parts, as its processes have; means over samples, since an epoch is their sum; the network's
step is a median.

    python benchmarks/loader.py [--store data/stores/kits19-…] [--workers 0 2] [model=… augment=… any=override]

Without a store a small phantom is prepared in a temporary folder. The settings are those of `model=unet3d preset=full`
unless overrides follow. `disk` is what a read takes longer when the system's file cache was told to forget the case's
files first; where a system does not (some virtual file systems keep them), it shows as 0.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch.utils.data import default_collate

from kidney_lab.composition.resolvers import register_resolvers
from kidney_lab.composition.search_path import config_folder
from kidney_lab.data.datamodule import StageDataModule
from kidney_lab.data.kits import find_cases
from kidney_lab.data.phantom import write_phantom
from kidney_lab.data.prepare import prepare_store
from kidney_lab.data.sampling import SampleKey
from kidney_lab.data.splits import Split
from kidney_lab.data.store import Store
from kidney_lab.data.views.datasets import ViewDataset, normalize
from kidney_lab.inference.load import choose_device
from kidney_lab.inference.precision import autocast, choose_precision
from kidney_lab.labels import LABELS
from kidney_lab.methods.stage import Stage

FIXED = ["data=kits19", "data.root=none", "logger=none"]


@dataclass(frozen=True)
class Times:
    """Seconds per sample of every part."""

    disk: float
    decoding: float
    normalising: float
    augmenting: float
    network: float


def compose_config(overrides: list[str], samples: int) -> DictConfig:
    """The configuration of `model=unet3d preset=full` with overrides, and epochs of a few samples."""
    register_resolvers()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return compose("config", overrides=[*FIXED, f"model.samples_per_epoch={samples}", *overrides])


@contextmanager
def store_to_read(path: Path | None, stage: Stage) -> Iterator[Store]:
    """The store at a path, or one of a phantom of the stage's grid."""
    if path is not None:
        yield Store(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        root = write_phantom(Path(folder) / "phantom", n_cases=4, in_plane=(256, 256), max_slices=96)
        cases = find_cases(root, label_files=["segmentation.nii.gz"])
        yield prepare_store(cases, stage.grid, Path(folder), dataset="phantom", workers=None)


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch as it is in a loading process."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def forget(folder: Path) -> None:
    """Asks the system to drop a case's files from its cache."""
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def seconds(call: Callable[[], object], device: torch.device) -> float:
    """Time of one call, until the device is done."""
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def time_sample(samples: ViewDataset, key: SampleKey, device: torch.device) -> tuple[float, float, float, float]:
    """Seconds of one sample: read from a cold cache, read from a warm one, normalised, augmented."""
    cpu = torch.device("cpu")
    for case in samples.cases:
        forget(samples.store.path / case)
    samples.store = Store(samples.store.path)  # whose files are not mapped yet
    cold = seconds(lambda: samples.read(key), cpu)
    warm = seconds(lambda: samples.read(key), cpu)
    raw = {name: value.to(device) if name != "seed" else value for name, value in samples.read(key).items()}
    image = normalize(raw["image"], samples.intensity)
    normalising = seconds(lambda: normalize(raw["image"], samples.intensity), device)
    augment = samples.augment
    if augment is None:
        return cold, warm, normalising, 0.0
    augment.draw(samples.view.roi_size, raw["seed"])
    return cold, warm, normalising, seconds(lambda: augment({"image": image, "label": raw["label"]}), device)


def time_network(stage: Stage, device: torch.device, precision: str, steps: int) -> float:
    """Seconds per sample of a training step: forward, backward and optimiser, on random samples."""
    module = stage.module.to(device).train()
    optimizer = module.optimizer(module.parameters())
    shape = (stage.batch_size, stage.view.channels, *stage.view.roi_size)
    image = torch.randn(shape, device=device)
    label = torch.randint(0, 3, (shape[0], 1, *shape[2:]), device=device, dtype=torch.uint8)

    def step() -> None:
        with autocast(precision, device):
            logits, target = module(image).float(), module.output.target(label)
            loss = module.loss(logits, target)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    return statistics.median(seconds(step, device) for _ in range(steps)) / stage.batch_size


def loader_rate(data: StageDataModule, workers: int) -> float:
    """Samples per second of the whole loader, once its processes run."""
    data.num_workers = workers
    loader = iter(data.train_dataloader())
    next(loader)
    start, number = time.perf_counter(), 0
    for batch in loader:
        number += len(batch) if isinstance(batch, list) else len(batch["image"])
    return number / (time.perf_counter() - start)


def verdict(times: Times, loading: float, workers: int, *, on_device: bool) -> str:
    """One sentence: what bounds an epoch.

    Args:
        times: of the parts.
        loading: seconds per sample of the whole loader.
        workers: of that loader.
        on_device: whether samples are normalised and augmented on the device.
    """
    parts = {"the disk": times.disk, "decoding": times.decoding}
    changing = {"augmentation": times.augmenting + times.normalising}
    device = {"the network": times.network} | (changing if on_device else {})
    loaded = parts if on_device else parts | changing
    slower = device if sum(device.values()) >= loading else loaded
    culprit = max(slower, key=lambda name: slower[name])
    return (
        f"With {workers} loading process{'' if workers == 1 else 'es'} {culprit} bounds an epoch: the device takes "
        f"{1000 * sum(device.values()):.1f} ms a sample, the loader {1000 * loading:.1f} ms."
    )


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, help="folder of a store; default: a phantom's, made for this")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, max(1, (os.cpu_count() or 1) - 1)])
    parser.add_argument("--samples", type=int, default=24, help="of every part and every loader")
    parser.add_argument("--steps", type=int, default=3, help="of the network")
    parser.add_argument("--device", default="auto")
    parser.add_argument("overrides", nargs="*", help="of the configuration, such as augment=nnunet")
    options = parser.parse_intermixed_args()
    config = compose_config(options.overrides, options.samples)
    device = choose_device(options.device)
    precision = choose_precision(config.trainer.precision, device)
    (stage_config,) = config.model.stages.values()
    stage: Stage = instantiate(stage_config, _convert_="all")
    with store_to_read(options.store, stage) as store:
        cases = tuple(name for name in store.cases if store[name].label is not None)
        stage.fit(store, cases)
        data = StageDataModule(
            store,
            Split(train=cases, val=cases[:1], test=()),
            view=stage.view,
            intensity=stage.intensity,
            augment=stage.augment,
            labels=[LABELS[name] for name in config.data.labels],
            batch_size=stage.batch_size,
            num_workers=0,
            seed=0,
        )
        samples = data.train_samples
        where = device if samples.on_device else torch.device("cpu")
        default_collate([samples.finish_again(samples.read(SampleKey(0, 0)))])  # what happens only once
        with one_thread():
            parts = [time_sample(samples, SampleKey(1, index), where) for index in range(options.samples)]
        cold, warm, normalising, augmenting = (statistics.mean(column) for column in zip(*parts, strict=True))
        network = time_network(stage, device, precision, options.steps)
        times = Times(max(0.0, cold - warm), warm, normalising, augmenting, network)
        print(f"{len(cases)} cases of {store.path.name}, {type(stage.view).__name__} {tuple(stage.view.roi_size)}")
        print(f"device {device}, {precision}; augmentation on {where}\n")
        print("| part | ms per sample |\n|---|---|")
        for name, value in asdict(times).items():
            print(f"| {name} | {1000 * value:.1f} |")
        print("\n| loading processes | samples per s |\n|---|---|")
        with one_thread():
            rates = {workers: loader_rate(data, workers) for workers in options.workers}
        for workers, rate in rates.items():
            print(f"| {workers} | {rate:.1f} |")
        best = max(rates, key=lambda workers: rates[workers])
        print("\n" + verdict(times, 1 / rates[best], best, on_device=samples.on_device))


if __name__ == "__main__":
    main()
