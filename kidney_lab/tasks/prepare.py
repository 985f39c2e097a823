"""`task=prepare`: check a dataset and bring its stores up to date, without training."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from kidney_lab.data.dataset import Dataset
from kidney_lab.data.shards import take_shard
from kidney_lab.data.store import Store
from kidney_lab.errors import InputError
from kidney_lab.files import make_folder, write_text
from kidney_lab.inference.member_runs import KEY, member_paths
from kidney_lab.methods.pipeline import enabled_stages
from kidney_lab.tasks.screen import log_to_screen
from kidney_lab.tasks.values import check_values


def prepare(config: DictConfig) -> None:
    """Prepares one store per grid of the model's stages; prints where they are and what the cases took."""
    check_values(config)
    stages = enabled_stages(config.model.stages)
    if not stages and member_paths(config):
        raise InputError(
            f"An ensemble of finished runs ({KEY}) has no stage to prepare cases for: leave out task=prepare and start "
            "it at once."
        )
    if not stages:
        raise InputError("The model has no stage that is enabled, so that there is nothing to prepare: enable one.")
    dataset: Dataset = instantiate(config.data, _convert_="all")
    cases = take_shard(sorted(dataset.split.cases), config.shard)
    with log_to_screen():
        prepare_dataset(dataset, config, cases)
        for name, stage_config in stages.items():
            recipe = instantiate(stage_config.grid, _convert_="all")
            store = dataset.prepare(
                recipe,
                Path(config.prepare.root),
                config.prepare.workers,
                cases=cases,
                rebuild=config.prepare.rebuild,
            )
            print(f"{name}: {len(store.cases)} cases in {store.path}")
            if cases:
                print(describe_cost(store, cases))
            write_costs(store)


def prepare_dataset(dataset: Dataset, config: DictConfig, cases: Sequence[str] | None = None) -> None:
    """Finds the cases, writing them where they are made up, and checks those given, or all that the split uses."""
    root = make_folder(Path(config.prepare.root))
    dataset.check(root / f"{dataset.name}-checked.json", config.prepare.workers, cases=cases)


def describe_cost(store: Store, cases: Sequence[str]) -> str:
    """One line on what preparing these cases took: time and memory of the median and of the worst."""
    costs = {case: store[case].cost for case in cases}
    slowest = max(costs, key=lambda case: costs[case].seconds)
    largest = max(costs, key=lambda case: costs[case].peak_mib)
    seconds = statistics.median(cost.seconds for cost in costs.values())
    mib = statistics.median(cost.peak_mib for cost in costs.values())
    return (
        f"  a case took {seconds:.1f} s (median; at most {costs[slowest].seconds:.1f} s, {slowest}) "
        f"and {mib:.0f} MiB (median; at most {costs[largest].peak_mib:.0f} MiB, {largest})"
    )


def write_costs(store: Store) -> None:
    """Writes `costs.csv` beside the cases: seconds and peak MiB of each, and the voxels along (D, H, W)."""
    lines = ["case,seconds,peak_mib,slices,rows,columns"]
    for case in store.cases:
        stored = store[case]
        shape = ",".join(map(str, stored.shape))
        lines.append(f"{case},{stored.cost.seconds},{stored.cost.peak_mib},{shape}")
    write_text(store.path / "costs.csv", "\n".join(lines) + "\n")
