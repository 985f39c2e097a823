"""Reads KiTS's clinical JSON, of any edition, into one typed table."""

import json
import logging
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd

from kidney_lab.data.clinical.schema import GROUPS, SCHEMA, Column
from kidney_lab.errors import InputError

FILES: Final = ("kits.json", "kits23.json")
"""Names by which the challenges give the table out, beside the cases."""

_NAMES = {other: column.name for column in SCHEMA for other in (column.name, *column.also)}
_MISSING = frozenset({"", "na", "not_applicable"})
_BOUND = re.compile(r">=?\s*(\d+(?:\.\d+)?)")
_NOUN = {"number": "a number", "integer": "a whole number", "boolean": "true or false", "category": "a text"}

_log = logging.getLogger(__name__)

Row = dict[str, Any]


def clinical_file(root: Path) -> Path | None:
    """Finds the clinical table of a dataset: the first of `FILES` in its folder, or None."""
    return next((root / name for name in FILES if (root / name).is_file()), None)


def read_clinical(path: Path) -> pd.DataFrame:
    """Reads the clinical table of KiTS19, KiTS21 or KiTS23.

    Nested groups are flattened (`comorbidities.copd`), names and values of older editions become those of KiTS23, and
    what an edition lacks is missing. Columns that the schema does not know follow at the end as they are.

    Args:
        path: `kits.json` or `kits23.json`.

    Returns:
        One row per patient, index `case` (`case_XXXXX`), sorted; columns as in `schema.SCHEMA`, in pandas' nullable
        types: Float64, Int64, boolean, category.

    Raises:
        InputError: the file is missing, no JSON or no list of patients, a case stands in it twice, or a value has the
            wrong type or is none that its column allows; the message names the case and the column.
    """
    rows = _rows(path)
    table = pd.DataFrame(index=pd.Index(list(rows), name="case"))
    columns = {column.name: _typed(column, rows, path) for column in SCHEMA}
    columns |= dict(_bounds(rows))
    unknown = list(dict.fromkeys(name for row in rows.values() for name in row if name not in columns))
    if unknown:
        _log.warning("%s: columns that are not in the schema are kept as they are: %s", path, ", ".join(unknown))
    columns |= {name: pd.Series([row.get(name) for row in rows.values()], list(rows)) for name in unknown}
    return table.assign(**columns).sort_index()


def _rows(path: Path) -> dict[str, Row]:
    """Flat values by case."""
    try:
        patients = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): name the challenge's clinical file.") from error
    except ValueError as error:
        raise InputError(f"{path} is no JSON ({error}); copy or download it again.") from error
    if not isinstance(patients, list) or not patients:
        raise InputError(f"{path} holds no list of patients: give the challenge's {' or '.join(FILES)}.")
    rows: dict[str, Row] = {}
    for position, patient in enumerate(patients, start=1):
        case = patient.get("case_id") if isinstance(patient, dict) else None
        if not isinstance(case, str) or not case:
            raise InputError(f"{path}: entry {position} has no case_id; every patient needs one, such as case_00000.")
        if case in rows:
            raise InputError(f"{path}: {case} stands in it twice; keep one entry per patient.")
        rows[case] = _flat(patient, case, path)
    return rows


def _flat(patient: Mapping[str, Any], case: str, path: Path) -> Row:
    row: Row = {}
    for key, value in _items(patient):
        name = _NAMES.get(key, key)
        if name == "case_id" or (name in GROUPS and value is None):
            continue
        if name in GROUPS:
            raise InputError(f"{path}: {name} of {case} is {value!r}, but is a group of columns: give it as an object.")
        if name in row:
            raise InputError(f"{path}: {case} has {name} twice, once as {key}; keep one of them.")
        row[name] = value
    return row


def _items(group: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in group.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and name not in _NAMES:
            yield from _items(value, f"{name}.")
        else:
            yield name, value


def _typed(column: Column, rows: Mapping[str, Row], path: Path) -> "pd.Series[Any]":
    values = []
    for case, row in rows.items():
        try:
            values.append(_value(row.get(column.name), column))
        except ValueError as error:
            raise InputError(
                f"{path}: {column.name} of {case} is {error}, but must be {_wanted(column)}; mend it."
            ) from error
    if column.kind == "category":
        found = tuple({value for value in values if value is not None})
        further = sorted(set(found) - set(column.values))
        if further:
            _log.warning("%s: %s has values beyond the known ones, which are kept: %s", path, column.name, further)
        return pd.Series(values, list(rows), dtype=column.dtype(found))
    return pd.Series(values, list(rows), dtype=column.dtype())


def _wanted(column: Column) -> str:
    """What a value of a column must be."""
    if column.closed:
        return f"{_NOUN[column.kind]} out of {', '.join(column.values)}"
    bounded = column.kind in ("number", "integer") and math.isfinite(column.minimum)
    return f"{_NOUN[column.kind]} of {column.minimum:g} or more" if bounded else _NOUN[column.kind]


def _value(value: Any, column: Column) -> Any:
    """A value in the type of its column, None where it is missing; a ValueError holds what is wrong as it was given."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    given = value
    if isinstance(value, str):
        text = value.strip().lower()
        given = column.renamed.get(text, text)
        if given in _MISSING or given in column.missing:
            return None
    read = {"number": _number, "integer": _integer, "boolean": _boolean, "category": _category}[column.kind]
    try:
        return read(given, column)
    except (TypeError, ValueError) as error:
        raise ValueError(repr(value)) from error


def _number(value: Any, column: Column) -> float:
    """A number, also as text (KiTS19 has "49"), or the bound in ">=90" where the column knows bounds."""
    if isinstance(value, bool):
        raise TypeError(value)
    bound = _BOUND.fullmatch(value) if column.at_least and isinstance(value, str) else None
    number = float(bound[1] if bound else value)
    if not math.isfinite(number) or number < column.minimum:
        raise ValueError(value)
    return number


def _integer(value: Any, column: Column) -> int:
    number = _number(value, column)
    if not number.is_integer():
        raise ValueError(value)
    return int(number)


def _boolean(value: Any, column: Column) -> bool:
    if not isinstance(value, bool):
        raise TypeError(value)
    return value


def _category(value: Any, column: Column) -> str:
    """Text in lower case; whole numbers are text as well, as KiTS19's grades are."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TypeError(value)
    if column.closed and str(value) not in column.values:
        raise ValueError(value)
    return str(value)


def _bounds(rows: Mapping[str, Row]) -> Iterator[tuple[str, "pd.Series[Any]"]]:
    """Columns that tell lower bounds from measured values; missing where the value is."""
    for column in SCHEMA:
        if column.at_least:
            values = [_is_bound(row.get(column.name), column) for row in rows.values()]
            yield column.at_least, pd.Series(values, list(rows), dtype="boolean")


def _is_bound(value: Any, column: Column) -> bool | None:
    if _value(value, column) is None:
        return None
    return isinstance(value, str) and _BOUND.fullmatch(value.strip()) is not None
