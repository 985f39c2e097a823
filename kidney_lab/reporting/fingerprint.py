"""The fingerprint of a dataset as tables: over its cases, beside a paper's, and as the network planned from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kidney_lab.data.fingerprint import QUANTITIES, STATISTICS
from kidney_lab.errors import InputError
from kidney_lab.geometry import Spacing
from kidney_lab.reporting.formatting import decimal
from kidney_lab.reporting.sections import TableRow, TableSection
from kidney_lab.wording import counted

AXES = ("D (z)", "H (y)", "W (x)")
_DIGITS = {"spacing": 3, "shape": 1, "extent": 1}
_PUBLISHED_DIGITS = 2

Statistics = Mapping[str, Mapping[str, Spacing]]
"""`{quantity: {statistic: (D, H, W)}}`."""


@dataclass(frozen=True)
class PublishedStatistics:
    """A paper's statistics, as an experiment's file gives them.

    Args:
        source: citation.
        n_cases: cases that it describes.
        values: `{quantity: {statistic: (D, H, W)}}`, as printed.

    Raises:
        InputError: a quantity or a statistic is none that a fingerprint has.
    """

    source: str
    n_cases: int
    values: Statistics

    def __post_init__(self) -> None:
        for quantity, by_name in self.values.items():
            if quantity not in QUANTITIES:
                raise InputError(f"published.values.{quantity} is unknown: choose out of {', '.join(QUANTITIES)}.")
            for name, axes in by_name.items():
                if name not in STATISTICS or len(axes) != len(AXES):
                    raise InputError(
                        f"published.values.{quantity}.{name}={list(axes)} is no statistic: give three numbers "
                        f"(D, H, W) of one of {', '.join(STATISTICS)}."
                    )


def statistics_section(statistics: Statistics, *, dataset: str, n_cases: int) -> TableSection:
    """Every statistic of every quantity, a row each.

    Args:
        statistics: over the cases.
        dataset: its name.
        n_cases: their number.
    """
    rows = [
        TableRow(
            "", None, (f"{quantity} ({QUANTITIES[quantity]}), {name}", *(decimal(v, _DIGITS[quantity]) for v in axes))
        )
        for quantity, by_name in statistics.items()
        for name, axes in by_name.items()
    ]
    caption = f"Over {counted(n_cases, 'case')} of {dataset}, from the files' headers."
    return TableSection("statistics", "Fingerprint", caption, ("Statistic", *AXES), rows, by_run=False)


def published_section(statistics: Statistics, published: PublishedStatistics, *, n_cases: int) -> TableSection:
    """A paper's statistics beside ours, axis by axis, in the two decimals that papers print.

    Args:
        statistics: ours.
        published: the paper's.
        n_cases: that ours are over.
    """
    rows, n_equal = [], 0
    for quantity, by_name in published.values.items():
        for name, printed in by_name.items():
            cells = [name if len(published.values) == 1 else f"{quantity}, {name}"]  # a terminal is narrow
            for ours, theirs in zip(statistics[quantity][name], printed, strict=True):
                shown, paper = decimal(ours, _PUBLISHED_DIGITS), decimal(theirs, _PUBLISHED_DIGITS)
                n_equal += shown == paper
                difference = float(shown) - theirs
                cells.append(f"{shown} ({paper}, {difference:+.{_PUBLISHED_DIGITS}f})")
            rows.append(TableRow("", None, cells))
    units = ", ".join(f"{quantity} in {QUANTITIES[quantity]}" for quantity in published.values)
    caption = (
        f"{published.source}. It describes {counted(published.n_cases, 'case')}; {n_cases} are here. Each cell: the "
        f"value here (the paper's, the difference), {units}. Equal in {_PUBLISHED_DIGITS} decimals: {n_equal} of "
        f"{len(rows) * len(AXES)}."
    )
    return TableSection("published", "Beside the paper's", caption, ("Statistic", *AXES), rows, by_run=False)


def list_in_brackets(values: Sequence[object]) -> str:
    """Writes nested lists of numbers as Hydra's command line takes them, without spaces.

    >>> list_in_brackets([2, (1, 2, 2)]), list_in_brackets([0.78125, 3.0])
    ('[2,[1,2,2]]', '[0.78125,3]')
    """
    parts = [list_in_brackets(v) if isinstance(v, Sequence) else f"{v:.6g}" for v in values]
    return f"[{','.join(parts)}]"
