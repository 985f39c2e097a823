"""`task=evaluate`: score any tool's predictions against references."""

from pathlib import Path

from omegaconf import DictConfig

from kidney_lab.errors import InputError
from kidney_lab.labels import REGIONS
from kidney_lab.metrics.evaluate import evaluate_pairs, match_pairs
from kidney_lab.metrics.table import write_metrics
from kidney_lab.reporting.tables import print_scores


def evaluate(config: DictConfig) -> None:
    """Writes `metrics.csv` and `summary.json` into `output` and prints the table."""
    unknown = [name for name in config.regions if name not in REGIONS]
    if unknown:
        raise InputError(f"regions={unknown} is unknown: choose from {', '.join(REGIONS)}.")
    pairs = match_pairs(Path(config.predictions), Path(config.references))
    scores = evaluate_pairs(pairs, regions=list(config.regions), workers=config.prepare.workers)
    output = Path(config.output)
    write_metrics(scores, output)
    print_scores(scores)
    print(f"scores  {output / 'metrics.csv'}")
