"""The sections of the clinical report: texts, tables and pictures, the same for the terminal, Markdown and HTML."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd

from kidney_lab.data.clinical.analysis import TUKEY, class_balance, normality, outliers
from kidney_lab.data.clinical.schema import SCHEMA, TUMOR_VOLUME
from kidney_lab.reporting.clinical_comparison import DIFFERS, EQUAL, PublishedTable, compare, contradictions
from kidney_lab.reporting.clinical_plots import draw_balance, draw_boxes, draw_distribution, png
from kidney_lab.reporting.formatting import MISSING, decimal

SIGNIFICANT: Final = 0.05
"""Below this p a distribution is taken not to be normal."""

MEASURED: Final = {"radiographic_size": "Tumor diameter (cm)", TUMOR_VOLUME: "Tumor volume (ml)"}
"""The two measurements whose normality paper 003 asks about."""

BOXES: Final = {"age_at_nephrectomy": "Age (years)", "bmi": "BMI (kg/m\N{SUPERSCRIPT TWO})", **MEASURED}
"""The four attributes in which paper 003 looks for outliers."""

_OUTLIER_HEADER = ("Column", "n", "Q1", "Median", "Q3", "Low", "High", "Outliers", "Cases")
_OUTLIER_ALIGN = "lrrrrrrrl"
_NAMED_CASES = 5


@dataclass(frozen=True)
class Picture:
    """A figure and what it shows; `name` is that of its file."""

    name: str
    png: bytes
    alt: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Args:
        id: anchor in the page.
        title: heading.
        text: paragraphs above the table.
        header: of the table.
        align: `l` or `r` for each of its columns.
        rows: texts.
        pictures: below the table.
        brief: whether the terminal shows it.
    """

    id: str
    title: str
    text: Sequence[str]
    header: Sequence[str]
    align: str
    rows: Sequence[Sequence[str]]
    pictures: Sequence[Picture] = ()
    brief: bool = True


def clinical_sections(table: pd.DataFrame, published: PublishedTable) -> list[Section]:
    """Makes every section.

    Args:
        table: as `read_clinical` gives it, with `tumor_volume_ml` where there are references to measure.
        published: the table of paper 003.
    """
    return [
        comparison_section(table, published),
        balance_section(table),
        normality_section(table),
        outlier_section(table),
        other_outlier_section(table),
        column_section(table),
    ]


def comparison_section(table: pd.DataFrame, published: PublishedTable) -> Section:
    """The paper's patients beside ours."""
    n = len(published.patients(table))
    text = [
        f"{published.source}. The paper describes {published.n_cases} patients; KiTS19 gives out {published.n_public} "
        f"of them, and {n} are in this table. Values are rounded as the paper prints them.",
    ]
    found = compare(table, published)
    verdicts = [row.verdict for row in found]
    equal, differing = verdicts.count(EQUAL), verdicts.count(DIFFERS)
    text.append(f"Rows that are equal: {equal}; differ: {differing}; unknown: {len(found) - equal - differing}.")
    text += filter(None, [contradictions(published)])
    rows = [(row.attribute, row.paper, row.ours, row.verdict, row.reason) for row in found]
    return Section(
        "paper", "Beside the paper's Table 1", text, ("Attribute", "Paper", "Here", "", "Why"), "lrrll", rows
    )


def balance_section(table: pd.DataFrame) -> Section:
    """How many patients had which procedure."""
    balance = class_balance(table["surgical_procedure"])
    counts = balance["count"]
    shares = [decimal(float(share) * 100, 1) for share in balance["share"]]
    rows = [(str(name), str(count), share) for name, count, share in zip(balance.index, counts, shares, strict=True)]
    known, missing = int(counts.sum()), int(table["surgical_procedure"].isna().sum())
    text = [f"Of {known} patients with a known procedure; {missing} are missing."]
    if counts.min() > 0:
        ratio = decimal(counts.max() / counts.min(), 2)
        text.append(f"The largest class has {ratio} times the patients of the smallest; equal classes would have 1.00.")
    pictures = []
    if known:
        drawn = png(draw_balance(balance, "Surgical procedure"))
        pictures = [Picture("procedure", drawn, text[0], "Patients by surgical procedure.")]
    return Section("balance", "Balance of the procedure", text, ("Procedure", "Patients", "%"), "lrr", rows, pictures)


def normality_section(table: pd.DataFrame) -> Section:
    """Whether diameter and volume of the tumor, or their logarithms, look normal."""
    rows, pictures, left_out = [], [], []
    for name, title in MEASURED.items():
        if name not in table or table[name].isna().all():
            left_out.append(title)
            continue
        for scale, tests in normality(table[name]).iterrows():
            statistics = (tests["skewness"], tests["shapiro_w"], tests["dagostino_k2"])
            skewness, w, k2 = (decimal(float(value), 2 if index != 1 else 3) for index, value in enumerate(statistics))
            p, p2 = float(tests["shapiro_p"]), float(tests["dagostino_p"])
            cells = (title, str(scale), str(int(tests["n"])), skewness, w, _p(p), k2, _p(p2), _normal(p, p2))
            rows.append(cells)
        figure = draw_distribution(table[name], title)
        if figure is not None:
            caption = f"{title}: histogram with the normal distribution that fits best, and quantiles against it."
            pictures.append(Picture(name, png(figure), f"Distribution of {title.lower()} and its logarithm.", caption))
    text = [
        "Shapiro-Wilk's W and D'Agostino-Pearson's K\N{SUPERSCRIPT TWO} with their p; where either is below "
        f"{SIGNIFICANT} the values are not normal, and where none is they may be.",
    ]
    text += [
        f"{title} is left out: no reference segmentation, or no value, to measure it on."
        if title == MEASURED[TUMOR_VOLUME]
        else f"{title} is left out: this table has no value of it."
        for title in left_out
    ]
    header = ("Size", "Scale", "n", "Skew", "W", "p", "K\N{SUPERSCRIPT TWO}", "p", "Normal")
    return Section("normality", "Normality of the tumor's size", text, header, "llrrrrrrl", rows, pictures)


def outlier_section(table: pd.DataFrame) -> Section:
    """Outliers in the attributes in which the paper looks for them."""
    rows = _outlier_rows(outliers(table), BOXES)
    figure = draw_boxes(table, BOXES)
    caption = "Quartiles with the median; whiskers reach the last value within the bounds, circles are outliers."
    pictures = [Picture("outliers", png(figure), "Boxes of age, BMI and tumor size.", caption)] if figure else []
    text = [f"Values below Q1 or above Q3 by more than {TUKEY} interquartile ranges; outliers.csv names all cases."]
    return Section("outliers", "Outliers", text, _OUTLIER_HEADER, _OUTLIER_ALIGN, rows, pictures)


def other_outlier_section(table: pd.DataFrame) -> Section:
    """Outliers in every other numeric column."""
    found = outliers(table)
    rows = _outlier_rows(found, {str(name): str(name) for name in found.index if name not in BOXES})
    text = ["Counts of days and what is mostly 0 have many: an outlier is a reason to look, not an error."]
    title = "Outliers in the other columns"
    return Section("other-outliers", title, text, _OUTLIER_HEADER, _OUTLIER_ALIGN, rows, brief=False)


def _outlier_rows(found: pd.DataFrame, titles: Mapping[str, str]) -> list[tuple[str, ...]]:
    rows = []
    for name, row in found.reindex([name for name in titles if name in found.index]).iterrows():
        values = [f"{float(row[key]):.4g}" for key in ("q1", "median", "q3", "low", "high")]
        cases = [case.removeprefix("case_") for case in str(row["cases"]).split()]
        named = ", ".join(cases[:_NAMED_CASES]) + (", ..." if len(cases) > _NAMED_CASES else "")
        rows.append((titles[str(name)], str(row["n"]), *values, str(row["n_outliers"]), named))
    return rows


def column_section(table: pd.DataFrame) -> Section:
    """What every column means, and how much of it is missing."""
    declared = {column.name: column for column in SCHEMA}
    rows = []
    for name in map(str, table.columns):
        column = declared.get(name)
        kind, unit, meaning, values = "number", "ml", "volume of the tumor in the reference segmentation", ""
        if column is not None:
            kind, unit, meaning, values = column.kind, column.unit, column.meaning, ", ".join(column.values)
        elif name != TUMOR_VOLUME:
            kind, unit, meaning = "as it is", "", "not in the schema"
        rows.append((name, kind, unit or MISSING, meaning, values or MISSING, str(int(table[name].isna().sum()))))
    missing = float(table.isna().to_numpy().mean())
    text = [f"{decimal(100 * missing, 1)} % of all values are missing; what does not apply counts as missing."]
    header = ("Column", "Type", "Unit", "Meaning", "Values", "Missing")
    return Section("columns", "Columns", text, header, "lllllr", rows, brief=False)


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else decimal(value)


def _normal(*p_values: float) -> str:
    if any(p < SIGNIFICANT for p in p_values):
        return "no"
    return "possible" if any(p >= SIGNIFICANT for p in p_values) else MISSING
