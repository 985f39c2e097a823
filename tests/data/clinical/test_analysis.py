import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kurtosistest, skewtest

from kidney_lab.data.clinical import read_clinical
from kidney_lab.data.clinical.analysis import class_balance, normality, one_hot, outliers, quartiles


@pytest.fixture
def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "size": pd.array([1, 2, 3, 4, 100], dtype="Int64"),
            "weight": pd.array([1.5, None, 2.5, 3.5, 4.5], dtype="Float64"),
            "dead": pd.array([True, False, None, False, False], dtype="boolean"),
            "stage": pd.Categorical(["b", None, "a", "b", "b"], categories=["a", "b", "c"], ordered=True),
            "note": ["x", "y", None, "z", "z"],
        },
        index=pd.Index([f"case_{n:05d}" for n in range(5)], name="case"),
    )


def test_categories_become_columns_of_every_possible_value(table):
    encoded = one_hot(table)

    assert list(encoded) == ["size", "weight", "dead", "stage=a", "stage=b", "stage=c"]
    assert encoded["stage=b"].tolist() == [1, 0, 0, 1, 1]
    assert encoded.loc["case_00001", ["stage=a", "stage=b", "stage=c"]].tolist() == [0, 0, 0]
    assert encoded["dead"].isna().tolist() == [False, False, True, False, False]
    assert encoded["dead"].dropna().tolist() == [1, 0, 0, 0]


def test_the_encoding_has_the_same_columns_for_any_patients(table):
    assert list(one_hot(table.head(1))) == list(one_hot(table))
    assert one_hot(table[["note"]]).shape == (5, 0)


def test_outliers_lie_beyond_the_quartiles_by_one_and_a_half_ranges(table):
    found = outliers(table)

    # 1, 2, 3, 4, 100: quartiles 2 and 4, so that the bounds are 2 - 3 and 4 + 3
    assert list(found.index) == ["size", "weight"]
    row = found.loc["size"]
    assert row[["n", "q1", "median", "q3", "low", "high", "n_outliers"]].tolist() == [5, 2, 3, 4, -1, 7, 1]
    assert row["cases"] == "case_00004"
    assert found.loc["weight", "n"] == 4


def test_a_value_on_the_bound_is_no_outlier(table):
    table["size"] = pd.array([1, 2, 3, 4, 7], dtype="Int64")
    assert outliers(table).loc["size", "n_outliers"] == 0
    assert outliers(table, factor=1.0).loc["size", "n_outliers"] == 1


def test_columns_without_values_are_left_out(table):
    table["size"] = pd.array([None] * 5, dtype="Int64")
    assert list(outliers(table).index) == ["weight"]
    assert all(math.isnan(value) for value in quartiles(table["size"]))


def test_shares_are_of_the_known_values(table):
    balance = class_balance(table["stage"])

    assert balance["count"].to_dict() == {"a": 1, "b": 3, "c": 0}
    assert balance["share"].tolist() == [0.25, 0.75, 0.0]
    assert class_balance(table["stage"].iloc[1:2])["share"].isna().all()


def test_lognormal_values_are_normal_in_their_logarithm_only():
    values = pd.Series(np.exp(np.random.default_rng(0).normal(3, 1, 200)))
    tests = normality(values)

    assert tests.loc["as measured", ["shapiro_p", "dagostino_p"]].max() < 1e-6
    assert tests.loc["logarithm", ["shapiro_p", "dagostino_p"]].min() > 0.05
    logs = np.log(values)
    statistic = skewtest(logs).statistic ** 2 + kurtosistest(logs).statistic ** 2
    assert tests.loc["logarithm", "dagostino_k2"] == pytest.approx(statistic)
    # the moment ratio, by its definition
    deviations = logs - logs.mean()
    assert tests.loc["logarithm", "skewness"] == pytest.approx((deviations**3).mean() / (deviations**2).mean() ** 1.5)


def test_shapiro_s_statistic_is_that_of_the_published_example():
    # Weights of eleven men, the example in Shapiro and Wilk (1965), section 4.1: W = 0.79 there
    weights = pd.Series([148, 154, 158, 160, 161, 162, 166, 170, 182, 195, 236])

    assert normality(weights).loc["as measured", "shapiro_w"] == pytest.approx(0.79, abs=0.005)


def test_too_few_or_equal_values_give_no_test():
    few = normality(pd.Series([1.0, 2.0, 4.0, 0.0, np.nan], dtype="Float64"))
    assert few["n"].tolist() == [4, 3]
    assert few["shapiro_p"].notna().all()
    assert few["dagostino_p"].isna().all()
    assert normality(pd.Series([2.0] * 20)).drop(columns="n").isna().all(axis=None)
    assert normality(pd.Series([], dtype="Float64"))["n"].tolist() == [0, 0]


def test_numbers_of_the_real_table(shared_data):
    table = read_clinical(shared_data / "kits19" / "kits.json")

    balance = class_balance(table["surgical_procedure"])
    assert balance["count"].to_dict() == {"partial_nephrectomy": 77, "radical_nephrectomy": 43}
    assert quartiles(table["radiographic_size"]) == pytest.approx((2.5, 4.0, 6.0))
    young = outliers(table).loc["age_at_nephrectomy", "cases"].split()
    assert table.loc[young, "age_at_nephrectomy"].tolist() == [21, 12, 1]
    assert not one_hot(table).filter(like="=").isna().any(axis=None)
