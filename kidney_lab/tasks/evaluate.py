"""`task=evaluate`: score any tool's predictions against references."""

from pathlib import Path

from omegaconf import DictConfig

from kidney_lab.errors import InputError
from kidney_lab.labels import REGIONS
from kidney_lab.metrics.evaluate import evaluate_pairs, match_pairs
from kidney_lab.metrics.parts import evaluate_shard
from kidney_lab.metrics.table import write_metrics
from kidney_lab.reporting.tables import print_scores


def evaluate(config: DictConfig) -> None:
    """Writes `metrics.csv` and `summary.json` into `output` and prints the table; a shard only adds its part to it."""
    unknown = [name for name in config.regions if name not in REGIONS]
    if unknown:
        raise InputError(f"regions={unknown} is unknown: choose from {', '.join(REGIONS)}.")
    pairs = match_pairs(Path(config.predictions), Path(config.references))
    regions, workers, output = list(config.regions), config.prepare.workers, Path(config.output)
    if config.shard is None:
        scores = evaluate_pairs(pairs, regions=regions, workers=workers)
    else:
        whole = evaluate_shard(pairs, shard=config.shard, regions=regions, workers=workers, output=output)
        if whole is None:
            print(f"shard {config.shard} is scored; the last shard to end writes {output / 'metrics.csv'}")
            return
        scores = whole
    write_metrics(scores, output)
    print_scores(scores)
    print(f"scores  {output / 'metrics.csv'}")
