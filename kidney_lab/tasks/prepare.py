"""`task=prepare`: check a dataset and bring its stores up to date, without training."""

from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from kidney_lab.data.dataset import Dataset


def prepare(config: DictConfig) -> None:
    """Prepares one store per grid of the model's stages; prints where they are."""
    dataset: Dataset = instantiate(config.data, _convert_="all")
    prepare_dataset(dataset, config)
    for name, stage_config in config.model.stages.items():
        recipe = instantiate(stage_config.grid, _convert_="all")
        store = dataset.prepare(recipe, Path(config.prepare.root), config.prepare.workers)
        print(f"{name}: {len(store.cases)} cases in {store.path}")


def prepare_dataset(dataset: Dataset, config: DictConfig) -> None:
    """Finds the cases, writing them first where they are made up, and checks all that the split uses."""
    Path(config.prepare.root).mkdir(parents=True, exist_ok=True)
    dataset.check(Path(config.prepare.root) / f"{dataset.name}-checked.json", config.prepare.workers)
