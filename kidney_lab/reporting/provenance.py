"""What the scores of a run rest on, in words: which split, which cases were left out, which part was scored."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kidney_lab.reporting.formatting import MISSING, words
from kidney_lab.reporting.runs import Run

EDITIONS: Final = ("kits19", "kits21", "kits23")
COMPARABLE: Final = ("kidney_and_mass", "tumor")
"""Regions that mean the same in every edition."""


def split_words(data: Mapping[str, Any]) -> str:
    """Names the split and its hash.

    Args:
        data: what `run.json` says of the data; as little of it as an older run holds.

    >>> split_words({"split": "kidney_lab", "fold": 0, "split_hash": "5b1c"})
    'kidney_lab, fold 0 (5b1c)'
    """
    name = data.get("split")
    if name is None:
        return MISSING if data.get("split_hash") is None else str(data["split_hash"])
    fold = "" if data.get("fold") is None else f", fold {data['fold']}"
    return f"{name}{fold} ({data.get('split_hash')})"


def made_up(run: Run) -> str:
    """Names images that are made up: whole phantoms, or images painted for the annotations of patients."""
    return "phantom data" if run.data.get("name") == "phantom" else "synthesized images"


def excluded_words(data: Mapping[str, Any]) -> str:
    """Names the lists of bad cases that were left out, and how many cases they took away.

    >>> excluded_words({"exclude": ["nnunet2019"], "excluded": ["a", "b"]}), excluded_words({})
    ('nnunet2019 (2 cases)', 'none')
    """
    lists, cases = data.get("exclude") or [], data.get("excluded") or []
    return f"{', '.join(lists)} ({len(cases)} case{'' if len(cases) == 1 else 's'})" if lists else "none"


def scored_part(runs: Sequence[Run]) -> str:
    """Adjective for the cases that the runs were scored on: test, validation, evaluated, or more where they differ."""
    parts = sorted({run.scored for run in runs})
    return " or ".join(parts)


def refit_warning(runs: Sequence[Run]) -> list[str]:
    """Sentence on runs in which a refit of the softmax had nothing to be fitted to."""
    unfitted = []
    for run in runs:
        for stage in (run.record.get("stages") or {}).values():
            regions = [region for region, fitted in (stage.get("fitted") or {}).items() if not fitted]
            unfitted += [f"{run.name} ({', '.join(map(words, regions))})"] if regions else []
    if not unfitted:
        return []
    return [
        f"The refit of {', '.join(unfitted)} was not fitted, since no training pixels, or of one kind alone, lay in "
        "regions of interest: there the probabilities are the detector's own."
    ]


def validation_warning(runs: Sequence[Run]) -> list[str]:
    """Sentence on runs whose validation cases were scored, since their splits have no test cases."""
    names = [run.name for run in runs if run.scored == "validation" and not run.metrics.empty]
    if not names:
        return []
    return [
        f"The split of {', '.join(names)} has no test cases: these are scores of its validation cases, by which the "
        "weights were chosen, and thus better than those of a test."
    ]


def unscored_warning(runs: Sequence[Run]) -> list[str]:
    """Sentence on runs that no table of scores can show."""
    names = [f"{run.name} ({run.record.get('status', 'no scores')})" for run in runs if run.metrics.empty]
    return [f"Without scores yet, and in no table of them: {', '.join(names)}."] if names else []


def comparison_warnings(runs: Sequence[Run]) -> list[str]:
    """Sentences on why scores of these runs cannot be compared, or not all of them."""
    found = []
    scored = [run for run in runs if not run.metrics.empty]
    names = {run.data["name"] for run in scored if "name" in run.data}  # unknown where there are scores alone
    if len(names) > 1 or len({frozenset(run.metrics["case"]) for run in scored}) > 1:
        found.append("These runs were not all tested on the same cases, so that their scores cannot be compared.")
    editions: dict[str, set[str]] = {}
    for run in runs:
        if run.data.get("name") in EDITIONS:
            for region in run.metrics["region"].unique():
                editions.setdefault(str(region), set()).add(str(run.data["name"]))
    apart = {region: names for region, names in editions.items() if region not in COMPARABLE and len(names) > 1}
    if apart:
        found.append(
            f"The editions {', '.join(sorted(set.union(*apart.values())))} do not mean the same by "
            f"{', '.join(sorted(apart))}: KiTS19's kidney label contains the cysts, which KiTS21 and KiTS23 label "
            f"apart; compare them on {' and '.join(COMPARABLE)} alone."
        )
    return found
