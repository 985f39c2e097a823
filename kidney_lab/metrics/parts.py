"""An evaluation in parts: shards score their cases on any machine, and the last one to end puts the table together."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from kidney_lab.data.shards import parse_shard, take_shard
from kidney_lab.metrics.evaluate import Pair, evaluate_pairs
from kidney_lab.metrics.table import read_metrics, write_metrics


def evaluate_shard(
    pairs: Mapping[str, Pair], *, shard: str, regions: Sequence[str], workers: int | None, output: Path
) -> pd.DataFrame | None:
    """Scores one shard of the pairs and keeps its table under `output/shards`.

    A shard that is there already is not scored again, so that after a failure the same sweep scores what is missing.

    Args:
        pairs: all of them, case to (prediction, reference).
        shard: `k/n`.
        regions: names of the regions to score.
        workers: processes.
        output: folder of the evaluation.

    Returns:
        The table of all pairs once every shard has ended, in the order that one process gives; else None.

    Raises:
        InputError: as `parse_shard` and `evaluate_pairs`.
    """
    _, n = parse_shard(shard)
    parts = output / "shards" / _key(pairs, regions)
    mine = parts / shard.replace("/", "-of-")
    if not (mine / "summary.json").is_file():  # written last
        chosen = take_shard(sorted(pairs), shard)
        scores = evaluate_pairs({case: pairs[case] for case in chosen}, regions=regions, workers=workers)
        write_metrics(scores, mine)
    folders = [parts / f"{k}-of-{n}" for k in range(1, n + 1)]
    if not all((folder / "summary.json").is_file() for folder in folders):
        return None
    whole = pd.concat([read_metrics(folder) for folder in folders], ignore_index=True)
    order = {case: place for place, case in enumerate(pairs)}
    return whole.sort_values("case", key=lambda column: column.map(order), kind="stable", ignore_index=True)


def _key(pairs: Mapping[str, Pair], regions: Sequence[str]) -> str:
    """Names this evaluation: parts of another one, or of other files under the same names, are not mixed with it."""
    facts = {
        case: [[str(path.resolve()), (stat := path.stat()).st_size, stat.st_mtime_ns] for path in pair]
        for case, pair in pairs.items()
    }
    return hashlib.sha256(json.dumps([facts, list(regions)], sort_keys=True).encode()).hexdigest()[:12]
