from collections import Counter

import pandas as pd

from kidney_lab.data.clinical.schema import GROUPS, SCHEMA


def test_no_name_stands_twice():
    names = Counter(name for column in SCHEMA for name in (column.name, *column.also))

    assert [name for name, n in names.items() if n > 1] == []


def test_every_column_is_explained_and_numbers_have_units():
    assert [column.name for column in SCHEMA if not column.meaning] == []
    assert [column.name for column in SCHEMA if column.kind in ("number", "integer") and not column.unit] == []
    assert [column.name for column in SCHEMA if (column.kind == "category") != bool(column.values)] == []


def test_values_of_older_editions_become_known_ones_or_missing():
    for column in SCHEMA:
        assert set(column.renamed.values()) <= {*column.values, "na"}, column.name


def test_groups_are_no_columns():
    assert "comorbidities" in GROUPS
    assert not GROUPS & {column.name for column in SCHEMA}


def test_only_open_lists_grow():
    gender = next(column for column in SCHEMA if column.name == "gender")

    assert gender.dtype(("x", "male")) == pd.CategoricalDtype(["female", "male", "x"])
