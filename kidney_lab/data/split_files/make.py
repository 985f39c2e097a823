"""Makes the split files of this package anew: `python -m kidney_lab.data.split_files.make SIZES`.

SIZES is a table `case,radiographic_size` (CSV, cm, empty where unknown) or the challenge's `kits23.json`, of all 489
cases of KiTS23. The splits of the papers are drawn at random, since none gives its list of cases; only their sizes are
the papers'. `kidney_lab` is stratified by tumor size; `kits19_small_tumors` is chosen by it.
"""

import csv
import json
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from kidney_lab.data.split_files.load import FOLDER
from kidney_lab.data.splits import seeded_split
from kidney_lab.errors import InputError
from kidney_lab.files import write_text

SEED: Final = 0
N_FOLDS: Final = 5
TEST_SHARE: Final = 0.2
SIZE_BINS_CM: Final = (2.0, 4.0, 7.0)
"""Upper ends of the bins of tumor size, those of the TNM stages T1a (with 2 cm inside), T1b and T2."""

EDITIONS: Final = {"kits19": 209, "kits21": 299, "kits23": 588}
"""Last public case of each edition; KiTS23 has no cases 300 to 399, the hidden test cases of KiTS21."""

Content = dict[str, Any]


def paper_splits() -> dict[str, Content]:
    """The splits of the papers, by name: sizes as printed, cases drawn."""
    of_300 = {"kits21": 299, "kits23": 299}
    of_210 = dict.fromkeys(EDITIONS, 209)
    official = _drawn(
        "KiTS19 as the challenge split it: training on cases 0-209, of which 20 validate, test on cases 210-299. "
        "The test references became public with KiTS21, annotated anew. With data=kits19 "
        "they are read from data.test_root.",
        dict.fromkeys(EDITIONS, 299),
        (190, 20, 0),
    )
    return {
        "kits19_official": {**official, "test": list(range(210, 300))},
        "msalds_240_30_30": _drawn("MSALDS, section 3.3: KiTS21, 8:1:1.", of_300, (240, 30, 30)),
        "vnet_168_21_21": _drawn("V-Net, sections 4.1 and 4.2.2: KiTS19, 8:1:1.", of_210, (168, 21, 21)),
        "vnet_189_21": _drawn("V-Net, section 5: KiTS19, 9:1, without test cases.", of_210, (189, 21, 0)),
        "thesis_190_20": _drawn(
            "The thesis: KiTS19, 190 for training and 20 for validation; the test was the challenge's server. "
            "Training and validation are those of kits19_official.",
            of_210,
            (190, 20, 0),
        ),
        "ensemble_70_10_20": _drawn(
            "Transfer-learned ensemble: KiTS19, 70/10/20 %. The paper gives no split; the sizes are a choice of ours.",
            of_210,
            (147, 21, 42),
        ),
        "ernet_random_70_30": _drawn(
            "ERNet, section 4.1: KiTS21, 210 for training, of which 20 validate, and 90 for the test, at random.",
            of_300,
            (190, 20, 90),
        ),
    }


def small_tumors_split() -> Content:
    """The split `kits19_small_tumors`: 40 training, 4 validation and 12 test cases for trials on a CPU.

    Drawn as any seeded split of cases 0 to 63 is; then its test part is made anew out of the strata of
    `kidney_lab.metrics.strata`, where 120 KiTS19 masks, cases 0 to 119, hold no tumor under 10 mm and four under 2 cm.
    """
    drawn = _drawn(
        "Trials of what small tumors gain (paper 002) on KiTS19 masks. Test: the four tumors under 2 cm among cases "
        "0-119, then, of the drawn test cases with slices of 2 mm and more, the first four under 10 cm3 and the first "
        "four of 10 cm3 and more. Two drawn test cases take the places of the two training cases that are tested.",
        {"kits19": EDITIONS["kits19"]},
        (40, 4, 20),
    )
    under_2_cm, under_10_cm3, larger = [19, 23, 72, 100], [31, 39, 40, 54], [7, 12, 13, 15]
    train = sorted({*drawn["train"], 14, 33} - {*under_2_cm})
    test = sorted([*under_2_cm, *under_10_cm3, *larger])
    return {**drawn, "drawn": drawn["drawn"] + "; test cases chosen", "train": train, "test": test}


def default_split(sizes: Mapping[int, float]) -> Content:
    """The split `kidney_lab`: a held-out test part and five folds, stratified by tumor size.

    Args:
        sizes: largest diameter of every patient's tumor, cm, by case number; NaN where unknown.

    Returns:
        What its file holds.
    """
    group = assign_groups(sizes)
    parts = [[case for case in sorted(group) if group[case] == k] for k in range(N_FOLDS + 1)]
    return {
        "description": "Five folds and a held-out test part of 20 %, stratified by tumor size; the default for "
        "comparisons. One assignment of all patients of KiTS23: what is tested in one edition is trained on in none.",
        "drawn": f"kidney_lab.data.split_files.make.assign_groups, seed {SEED}, by radiographic_size of kits23.json",
        "datasets": EDITIONS,
        "test": parts[0],
        "folds": parts[1:],
    }


def assign_groups(sizes: Mapping[int, float]) -> dict[int, int]:
    """Assigns patients to the test part (0) and the folds (1 to 5) so that all of them have tumors of like sizes.

    Patients are taken by number, so that KiTS19's and KiTS21's, which are the first 210 and 300, are balanced by
    themselves. Each goes where most is lacking, among patients of the same size bin and among all together, with a
    random element (minimisation: S. J. Pocock and R. Simon, Biometrics 1975, doi:10.2307/2529712).

    Args:
        sizes: cm, by case number; unknown sizes (NaN) are a bin of their own.

    Returns:
        Group of every case.
    """
    rng = np.random.default_rng(SEED)
    share = np.array([TEST_SHARE] + [(1 - TEST_SHARE) / N_FOLDS] * N_FOLDS)
    counts = np.zeros((len(SIZE_BINS_CM) + 2, len(share)))  # patients by size bin and group
    groups = {}
    for case in sorted(sizes):
        row = size_bin(sizes[case])
        lacking = sum(share * (seen.sum() + 1) - seen for seen in (counts[row], counts.sum(axis=0)))
        groups[case] = int(np.argmax(lacking + rng.uniform(0, 1, len(share))))
        counts[row, groups[case]] += 1
    return groups


def size_bin(size_cm: float) -> int:
    """Number of a tumor's size bin: up to 2 cm, to 4 cm, to 7 cm, above; then unknown.

    >>> [size_bin(size) for size in (2.0, 2.1, 7.0, 15.0, float("nan"))]
    [0, 1, 2, 3, 4]
    """
    return len(SIZE_BINS_CM) + 1 if np.isnan(size_cm) else int(np.searchsorted(SIZE_BINS_CM, size_cm))


def read_sizes(path: Path) -> dict[int, float]:
    """Reads the tumor sizes of all cases, cm, by case number; NaN where unknown.

    Raises:
        InputError: the table is missing, or lacks columns or cases.
    """
    try:
        text = path.read_text(encoding="utf-8")
        rows = json.loads(text) if path.suffix == ".json" else list(csv.DictReader(text.splitlines()))
        key = "case_id" if path.suffix == ".json" else "case"
        sizes = {int(row[key].removeprefix("case_")): _number(row["radiographic_size"]) for row in rows}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"{path} is no table of tumor sizes ({type(error).__name__}: {error}): give a CSV file with the columns "
            "case and radiographic_size, or the challenge's kits23.json."
        ) from error
    expected = {*range(300), *range(400, EDITIONS["kits23"] + 1)}
    if {*sizes} != expected:
        raise InputError(f"{path} holds {len(sizes)} cases, not the {len(expected)} of KiTS23: give the whole table.")
    return sizes


def render(content: Content) -> str:
    """Writes a split as JSON in which lists of cases stand in lines that can be read."""
    entries = [f"  {json.dumps(key)}: {_wrapped(value)}" for key, value in content.items()]
    return "{\n" + ",\n".join(entries) + "\n}\n"


def main(arguments: Sequence[str]) -> None:
    """Writes every split file of the package.

    Args:
        arguments: path of the table of sizes; a second one is the folder to write into, instead of the package's.
    """
    if len(arguments) not in (1, 2):
        raise InputError(
            "Give the table of tumor sizes: python -m kidney_lab.data.split_files.make SIZES.csv [FOLDER]."
        )
    folder = Path(arguments[1]) if len(arguments) == 2 else FOLDER
    chosen = {
        "kits19_small_tumors": small_tumors_split(),
        "kidney_lab": default_split(read_sizes(Path(arguments[0]))),
    }
    for name, content in {**paper_splits(), **chosen}.items():
        write_text(folder / f"{name}.json", render(content))
        print(folder / f"{name}.json")


def _drawn(description: str, datasets: Mapping[str, int], sizes: tuple[int, int, int]) -> Content:
    """Draws as many cases as a paper had, out of its first so many."""
    n = sum(sizes)
    numbers = {f"{number:05d}": number for number in range(n)}
    split = seeded_split(list(numbers), n_train=sizes[0], n_val=sizes[1], n_test=sizes[2], seed=SEED)
    parts = ([numbers[case] for case in part] for part in split.parts)
    return {
        "description": description,
        "drawn": f"kidney_lab.data.splits.seeded_split, seed {SEED}, out of cases 0-{n - 1}",
        "datasets": dict(datasets),
        **dict(zip(("train", "val", "test"), parts, strict=True)),
    }


def _number(value: str | float | None) -> float:
    return float("nan") if value is None or value == "" else float(value)


def _wrapped(value: Any, indent: str = "  ") -> str:
    """A value as JSON; lists in lines of their own, one level deeper than `indent`."""
    if not isinstance(value, list) or not value:
        return json.dumps(value)
    inner = indent + "  "
    if isinstance(value[0], list):
        lines = ",\n".join(inner + _wrapped(item, inner) for item in value)
    else:
        lines = textwrap.fill(", ".join(map(str, value)), 100, initial_indent=inner, subsequent_indent=inner)
    return f"[\n{lines}\n{indent}]"


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except InputError as error:
        sys.exit(str(error))
