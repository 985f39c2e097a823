"""A paper's description of its patients beside what the public clinical table gives, row by row.

The paper's numbers stand in a file as the paper prints them, so that ours are rounded to the same digits before they
are compared, and so that what the paper's own numbers contradict can be said.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from kidney_lab.data.clinical.analysis import class_balance, quartiles
from kidney_lab.errors import InputError
from kidney_lab.reporting.formatting import MISSING, decimal

EQUAL: Final = "equal"
DIFFERS: Final = "differs"
UNKNOWN: Final = "unknown"


@dataclass(frozen=True)
class ComparedRow:
    """One value of the paper.

    Args:
        attribute: what it describes, and of which class.
        paper: as printed.
        ours: in the same digits; a dash where there is none.
        verdict: `EQUAL`, `DIFFERS` or `UNKNOWN`.
        reason: why it is not equal; empty where it is.
    """

    attribute: str
    paper: str
    ours: str
    verdict: str
    reason: str


@dataclass(frozen=True)
class PublishedTable:
    """A paper's table of its patients, out of a file such as `experiments/transfer_ensemble/table1_clinical.json`.

    Args:
        source: citation.
        n_cases: patients that the paper describes: KiTS19's, `case_00000` and so on.
        n_public: how many of them KiTS19 gives out.
        n_missing: values that the paper says are missing.
        medians: rows with `attribute`, `column`, `median` and perhaps the quartiles `q1` and `q3`, texts as printed.
        shares: rows with `attribute`, `column` (null where no public table has it) and `classes`, each with `name`,
            `count`, `percent` as printed and the `values` that it stands for (null: all that the others leave).
    """

    source: str
    n_cases: int
    n_public: int
    n_missing: int
    medians: Sequence[Mapping[str, Any]]
    shares: Sequence[Mapping[str, Any]]

    @classmethod
    def read(cls, path: Path) -> "PublishedTable":
        """Reads the file.

        Raises:
            InputError: it is missing, no JSON, or of another form.
        """
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"{path} is no table of a paper ({error}): take it from the repository again.") from error

    def patients(self, table: pd.DataFrame) -> pd.DataFrame:
        """Rows of the clinical table that are patients of the paper: KiTS21 and KiTS23 have others as well."""
        numbers = table.index.to_series().str.extract(r"(\d+)$", expand=False).astype(float)
        return table[(numbers < self.n_cases).to_numpy()]


def compare(table: pd.DataFrame, published: PublishedTable) -> list[ComparedRow]:
    """Puts every value of the paper beside ours.

    Args:
        table: as `read_clinical` gives it, with the tumor volumes where they were measured.
        published: the paper's.

    Returns:
        Rows in the paper's order. Medians and quartiles are compared in the digits that the paper prints, classes by
        their count and their share of the known values, and last the number of missing values of all attributes.
    """
    patients = published.patients(table)
    rows = [_median(row, patients, published) for row in published.medians]
    rows += [row for group in published.shares for row in _shares(group, patients, published)]
    named = [str(row["column"]) for row in (*published.medians, *published.shares)]
    n_missing = int(patients[[name for name in named if name in patients]].isna().sum().sum())
    reason = "the public table says otherwise"
    return [*rows, _row("Missing values in these", str(published.n_missing), str(n_missing), reason)]


def contradictions(published: PublishedTable) -> str:
    """Says where the paper's own numbers do not fit together: sums of counts, and shares of neither them nor all."""
    sums, n_shares, n_wrong = [], 0, 0
    for group in published.shares:
        total = sum(int(entry["count"]) for entry in group["classes"])
        if total != published.n_cases:
            sums.append(f"{total} ({str(group['attribute']).lower()})")
        for entry in group["classes"]:
            printed = str(entry["percent"])
            n_shares += 1
            n_wrong += printed not in [_percent(entry["count"], n, printed) for n in (total, published.n_cases)]
    sentences = []
    if sums:
        sentences.append(f"The paper's own counts add up to {', '.join(sums)} patients, not {published.n_cases}.")
    if n_wrong:
        sentences.append(f"Of its {n_shares} shares, {n_wrong} fit neither these sums nor {published.n_cases}.")
    return " ".join(sentences)


def _median(row: Mapping[str, Any], patients: pd.DataFrame, published: PublishedTable) -> ComparedRow:
    printed = [str(row[key]) for key in ("median", "q1", "q3") if key in row]
    name = str(row["column"])
    if name not in patients:
        return _unknown(str(row["attribute"]), _range(printed), "no reference segmentation to measure it on")
    values = patients[name].dropna()
    if values.empty:
        return _unknown(str(row["attribute"]), _range(printed), "no value in this table")
    q1, median, q3 = quartiles(values)
    ours = [decimal(value, _digits(text)) for value, text in zip((median, q1, q3), printed, strict=False)]
    return _row(str(row["attribute"]), _range(printed), _range(ours), _coverage(len(values), published))


def _shares(group: Mapping[str, Any], patients: pd.DataFrame, published: PublishedTable) -> Iterator[ComparedRow]:
    column = group["column"]
    counts = class_balance(patients[column])["count"] if column in patients else pd.Series(dtype=int)
    known = int(counts.sum())
    named = {value for entry in group["classes"] for value in entry["values"] or ()}
    for entry in group["classes"]:
        attribute = f"{group['attribute']}: {entry['name']}"
        paper = f"{entry['count']} ({entry['percent']} %)"
        if not known:
            yield _unknown(attribute, paper, "no value in this table" if column else "not in the public tables")
            continue
        values = entry["values"] or [value for value in counts.index if value not in named]
        count = int(counts.reindex(values, fill_value=0).sum())
        ours = f"{count} ({_percent(count, known, entry['percent'])} %)"
        yield _row(attribute, paper, ours, _coverage(known, published))


def _coverage(n: int, published: PublishedTable) -> str:
    return "the public table says otherwise" if n == published.n_cases else f"{n} of {published.n_cases} patients here"


def _row(attribute: str, paper: str, ours: str, reason: str) -> ComparedRow:
    equal = paper == ours
    return ComparedRow(attribute, paper, ours, EQUAL if equal else DIFFERS, "" if equal else reason)


def _unknown(attribute: str, paper: str, reason: str) -> ComparedRow:
    return ComparedRow(attribute, paper, MISSING, UNKNOWN, reason)


def _percent(count: int, n: int, printed: str) -> str:
    """Share in the digits of another one."""
    return decimal(100 * count / n, _digits(printed))


def _digits(printed: str) -> int:
    return len(printed.partition(".")[2])


def _range(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{texts[0]} ({texts[1]}, {texts[2]})"
