"""What paper 003 does with the clinical table: one-hot encoding, outliers, class balance and normality.

S. Nagarajan and M. Ramprasath (IJETT 72(9), 2024), section 3.2, names the steps and gives no result of them. What it
leaves open: the quartiles' definition (linear interpolation here, as numpy and pandas have it), the factor of the
interquartile range (1.5, J. W. Tukey, "Exploratory Data Analysis", 1977), and the test of normality (two here).
"""

from typing import Any, Final

import numpy as np
import pandas as pd
from scipy.stats import normaltest, shapiro, skew

TUKEY: Final = 1.5
"""Multiple of the interquartile range beyond which a value is an outlier."""

_FEWEST_SHAPIRO, _FEWEST_DAGOSTINO = 3, 8  # below these the tests are undefined


def one_hot(table: pd.DataFrame) -> pd.DataFrame:
    """Encodes the table as numbers alone.

    Args:
        table: as `read_clinical` gives it.

    Returns:
        Numbers as they are; true and false as 1 and 0; a column `name=value` of 0 and 1 for every value that a category
        may have, observed or not, so that all tables of an edition have the same columns in the same order. A missing
        category is 0 in all of them. Columns of other types are left out.
    """
    parts = [_encoded(table[name]) for name in table.columns if _is_encodable(table[name])]
    return pd.concat(parts, axis=1) if parts else pd.DataFrame(index=table.index)


def _is_encodable(column: "pd.Series[Any]") -> bool:
    return isinstance(column.dtype, pd.CategoricalDtype) or pd.api.types.is_numeric_dtype(column)


def _encoded(column: "pd.Series[Any]") -> "pd.Series[Any] | pd.DataFrame":
    if isinstance(column.dtype, pd.CategoricalDtype):
        return pd.get_dummies(column, prefix=str(column.name), prefix_sep="=", dtype=np.int8)
    return column.astype("Int8") if pd.api.types.is_bool_dtype(column) else column


def numeric_columns(table: pd.DataFrame) -> list[str]:
    """Names of the columns that hold numbers, true and false not being such."""
    kept = (c for c in table if pd.api.types.is_numeric_dtype(table[c]) and not pd.api.types.is_bool_dtype(table[c]))
    return [str(name) for name in kept]


def quartiles(values: "pd.Series[Any]") -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile of the values that are not missing; NaN without any."""
    known = values.dropna().to_numpy(dtype=float)
    if not known.size:
        return np.nan, np.nan, np.nan
    q1, median, q3 = np.quantile(known, [0.25, 0.5, 0.75])
    return float(q1), float(median), float(q3)


def outliers(table: pd.DataFrame, *, factor: float = TUKEY) -> pd.DataFrame:
    """Finds values that lie beyond the quartiles by more than a multiple of the interquartile range.

    Args:
        table: of which the numeric columns are searched.
        factor: of the interquartile range.

    Returns:
        Index `column`; columns `n` (values that are not missing), `q1`, `median`, `q3`, `low` and `high` (the bounds,
        values on them are no outliers), `n_outliers`, and `cases`, their names between spaces. Columns without any
        value are left out.
    """
    found = {}
    for name in numeric_columns(table):
        known = table[name].dropna().astype(float)
        if known.empty:
            continue
        q1, median, q3 = quartiles(known)
        low, high = q1 - factor * (q3 - q1), q3 + factor * (q3 - q1)
        beyond = known[(known < low) | (known > high)]
        cases = " ".join(map(str, beyond.index))
        found[name] = (len(known), q1, median, q3, low, high, len(beyond), cases)
    header = ["n", "q1", "median", "q3", "low", "high", "n_outliers", "cases"]
    return pd.DataFrame.from_dict(found, orient="index", columns=header).rename_axis("column")


def class_balance(values: "pd.Series[Any]") -> pd.DataFrame:
    """Counts the cases of every class.

    Args:
        values: a category; missing values are left out.

    Returns:
        Index `class`, every one that the category may have, in its order; columns `count` and `share` (of the known
        values, 0 to 1, NaN without any).
    """
    counts = values.value_counts(sort=False).reindex(values.cat.categories, fill_value=0).astype(int)
    shares = counts / counts.sum() if counts.sum() else counts * np.nan
    return pd.DataFrame({"count": counts, "share": shares}).rename_axis("class")


def normality(values: "pd.Series[Any]") -> pd.DataFrame:
    """Tests whether values, or their logarithms, may come from a normal distribution.

    Shapiro-Wilk (Biometrika 1965, doi:10.1093/biomet/52.3-4.591) and D'Agostino-Pearson, which joins skewness and
    kurtosis (Biometrika 1973, doi:10.1093/biomet/60.3.613). A small p speaks against normality; a large one does not
    prove it.

    Args:
        values: numbers; missing ones are left out, and of the logarithms those that are not above 0.

    Returns:
        Index `scale`, "as measured" and "logarithm"; columns `n`, `skewness`, `shapiro_w`, `shapiro_p`, `dagostino_k2`,
        `dagostino_p`; NaN where there are too few values (3 and 8) or all are equal.
    """
    known = values.dropna().to_numpy(dtype=float)
    scales = {"as measured": known, "logarithm": np.log(known[known > 0])}
    header = ["n", "skewness", "shapiro_w", "shapiro_p", "dagostino_k2", "dagostino_p"]
    rows = {name: _tests(sample) for name, sample in scales.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=header).rename_axis("scale")


def _tests(sample: "np.ndarray[Any, np.dtype[np.float64]]") -> tuple[float, ...]:
    n = len(sample)
    spread = n >= _FEWEST_SHAPIRO and bool(np.ptp(sample) > 0)
    w, p = shapiro(sample) if spread else (np.nan, np.nan)
    k2, p2 = normaltest(sample) if spread and n >= _FEWEST_DAGOSTINO else (np.nan, np.nan)
    return n, float(skew(sample)) if spread else np.nan, float(w), float(p), float(k2), float(p2)
