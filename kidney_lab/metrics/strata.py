"""`strata.csv`: what kind of case each case is, so that scores can be read by tumor size, count, cysts and slices.

One row per case, measured on the reference (and on the image, where there is one); it joins with `metrics.csv` by
`case`. Columns:

* `tumor_diameter_mm`: largest axial diameter of any tumor, see `axial_diameter_mm`; empty without a tumor.
* `tumor_volume_ml` of all tumors together, `largest_tumor_volume_ml` of the largest component; 0 without a tumor.
* `tumor_count`: 26-connected components that are no specks; `tumor_specks`: those below `SPECK_ML`. Diameter and
  volumes leave nothing out.
* `cyst_present`: whether any voxel is a cyst. KiTS19 has no label for cysts: there it says nothing.
* `slice_thickness_mm`: distance between slices, which is what a label map's header knows of it.
* `size`: of the diameter: at most 2 cm, over 2 to 4, over 4 to 7, over 7; 4 and 7 cm are the limits of T1a and T1b of
  the TNM classification (8th edition). `size_by_volume`: the same of the diameter of a ball of the largest tumor's
  volume (limits 4.2, 33.5 and 179.6 ml).
* `under_10_mm` and `under_2_cm` of the diameter, `under_10_cm3` of the volume of all tumors: the small tumors of
  Lin and Chen's improved V-Net; empty without a tumor.
* `slices`: thickness of at most 1 mm, over 1 to 3, over 3; our own limits.
* with an image, for `kidney_and_mass` and `tumor`: `<region>_gradient_hu_per_mm` and, once all cases are there,
  `<region>_border` (blurry or crisp) and `<region>_threshold_hu_per_mm`, see `kidney_lab.metrics.ambiguity`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kidney_lab.errors import InputError
from kidney_lab.files import write_text
from kidney_lab.geometry import Spacing
from kidney_lab.labels import CYST, REGIONS, TUMOR
from kidney_lab.metrics.ambiguity import BLURRY, CRISP, border_gradient, split_at_median
from kidney_lab.metrics.components import SPECK_ML, connected_components
from kidney_lab.metrics.surface import check_pair
from kidney_lab.metrics.table import summarize

SIZES: Final = ("<=2 cm", "2-4 cm", "4-7 cm", ">7 cm")
SLICES: Final = ("<=1 mm", "1-3 mm", ">3 mm")
UNDEFINED: Final = "undefined"
BORDER_REGIONS: Final = ("kidney_and_mass", "tumor")
"""Regions whose border is measured in the image: those of ERNet's Table 2."""

_SIZE_LIMITS_MM, _SLICE_LIMITS_MM = (20.0, 40.0, 70.0), (1.0, 3.0)
_ORDER = {name: place for place, name in enumerate((*SIZES, *SLICES, BLURRY, CRISP))}
_MEASURED = (
    "tumor_diameter_mm",
    "tumor_volume_ml",
    "largest_tumor_volume_ml",
    "slice_thickness_mm",
    *(f"{region}_{what}_hu_per_mm" for region in BORDER_REGIONS for what in ("gradient", "threshold")),
)
_COUNTS = ("tumor_count", "tumor_specks")
_YES_NO = ("cyst_present", "under_10_mm", "under_2_cm", "under_10_cm3")

Stratum = float | int | bool | str | None

STRATA: Final[Mapping[str, Mapping[bool | str, str]]] = {
    **{column: {name: name for name in SIZES} for column in ("size", "size_by_volume")},
    "under_10_mm": {True: "under 10 mm", False: "10 mm and more"},
    "under_2_cm": {True: "under 2 cm", False: "2 cm and more"},
    "under_10_cm3": {True: "under 10 cm³", False: "10 cm³ and more"},
    "cyst_present": {False: "without cysts", True: "with cysts"},
    "slices": {name: name for name in SLICES},
    **{f"{region}_border": {name: name for name in (BLURRY, CRISP)} for region in BORDER_REGIONS},
}
"""Columns whose strata are known before any case is: the values with their names in words, in the order of tables."""


def case_strata(reference: NDArray[Any], spacing_mm: Spacing, image: NDArray[Any] | None = None) -> dict[str, Stratum]:
    """Measures one case.

    Args:
        reference: label map `(D, H, W)`: 0 background, 1 kidney, 2 tumor, 3 cyst.
        spacing_mm: distance between voxels, (D, H, W), in mm.
        image: Hounsfield units of the same shape, or None.

    Returns:
        A row of `strata.csv`, columns as this module says; None is undefined.

    Raises:
        InputError: if the shapes differ, are not three-dimensional, or the spacing is not positive.
    """
    check_pair(reference, reference, spacing_mm)
    tumors = connected_components(reference == TUMOR, spacing_mm)  # largest first
    lesions = [tumor for tumor in tumors if tumor.volume_ml >= SPECK_ML]
    diameter = max((tumor.diameter_mm for tumor in tumors), default=None)
    total, largest = sum((tumor.volume_ml for tumor in tumors), 0.0), tumors[0].volume_ml if tumors else 0.0
    strata: dict[str, Stratum] = {
        "tumor_diameter_mm": diameter,
        "tumor_volume_ml": total,
        "largest_tumor_volume_ml": largest,
        "tumor_count": len(lesions),
        "tumor_specks": len(tumors) - len(lesions),
        "cyst_present": bool((reference == CYST).any()),
        "slice_thickness_mm": float(spacing_mm[0]),
        "size": None if diameter is None else _class_of(diameter, _SIZE_LIMITS_MM, SIZES),
        "size_by_volume": _class_of(ball_diameter_mm(largest), _SIZE_LIMITS_MM, SIZES) if tumors else None,
        "under_10_mm": None if diameter is None else diameter < 10,
        "under_2_cm": None if diameter is None else diameter < 20,
        "under_10_cm3": total < 10 if tumors else None,
        "slices": _class_of(spacing_mm[0], _SLICE_LIMITS_MM, SLICES),
    }
    if image is not None:
        for region in BORDER_REGIONS:
            gradient = border_gradient(image, np.isin(reference, REGIONS[region]), spacing_mm)
            strata[f"{region}_gradient_hu_per_mm"] = None if np.isnan(gradient) else gradient
    return strata


def ball_diameter_mm(volume_ml: float) -> float:
    """Diameter in mm of a ball of some volume in ml: `(6 V / pi)^(1/3)`."""
    return float(np.cbrt(6 * volume_ml * 1000 / np.pi))


def strata_frame(rows: Mapping[str, Mapping[str, Stratum]]) -> pd.DataFrame:
    """Makes the table out of the rows of all cases, and splits their borders into blurry and crisp ones.

    Args:
        rows: for each case what `case_strata` gives.

    Returns:
        Column `case` and those that this module lists.
    """
    frame = pd.DataFrame([{"case": case, **row} for case, row in rows.items()])
    for region in BORDER_REGIONS:
        if (measured := f"{region}_gradient_hu_per_mm") in frame:
            classes, threshold = split_at_median(frame[measured].astype(float))
            frame[f"{region}_border"], frame[f"{region}_threshold_hu_per_mm"] = classes, threshold
    return _typed(frame)


def write_strata(frame: pd.DataFrame, folder: Path) -> None:
    """Writes `strata.csv` into a folder, as a whole: UTF-8, decimal point, empty where undefined, floats exact."""
    write_text(folder / "strata.csv", frame.to_csv(index=False, lineterminator="\n"))


def read_strata(path: Path) -> pd.DataFrame:
    """Reads a `strata.csv`, which may have columns of the user's own.

    Args:
        path: the file, or the folder that holds it.

    Returns:
        One row per case; yes-or-no columns are of pandas' "boolean".

    Raises:
        InputError: if the file is missing, is no table, has no column `case`, or has a case twice.
    """
    file = path / "strata.csv" if path.is_dir() else path
    if not file.is_file():
        raise InputError(f"The table {file} does not exist: write it with task=evaluate strata=true.")
    try:
        text = _checked(pd.read_csv(file, dtype=str, keep_default_na=False))  # a case may be called "NA"
        cells = {str(name): [_value(str(name), cell) for cell in text[name]] for name in text}
        return _typed(pd.DataFrame(cells))
    except ValueError as error:
        raise InputError(
            f"The table {file} cannot be read: {error}. Write it with task=evaluate strata=true."
        ) from error


def by_stratum(metrics: pd.DataFrame, strata: pd.DataFrame, column: str) -> pd.DataFrame:
    """Summarises scores by kind of case.

    Args:
        metrics: tidy table `case,region,metric,value`; NaN is undefined.
        strata: one row per case; it may have more cases than were scored.
        column: of `strata`, one that sorts cases into classes, such as `size`, `tumor_count` or `cyst_present`.

    Returns:
        Columns `stratum,region,metric,mean,std,median,n,n_undefined`, as `summarize` defines them, strata in order of
        size; cases without a value in the column are the stratum "undefined".

    Raises:
        InputError: if the column is missing or holds measured numbers, or a scored case has no row in `strata`.
    """
    classes = [str(name) for name in strata if name not in ("case", *_MEASURED)]
    if column not in classes:
        raise InputError(f"{column!r} is no column that sorts cases into strata: choose out of {', '.join(classes)}.")
    missing = sorted(set(metrics["case"]) - set(strata["case"]))
    if missing:
        raise InputError(f"The strata have no row for {', '.join(missing)}: write them for the cases that were scored.")
    stratum_of = strata.set_index("case")[column].astype(object)
    stratum = metrics["case"].map(stratum_of.where(stratum_of.notna(), UNDEFINED))
    rows = [
        {"stratum": name, "region": region, "metric": metric, **summary}
        for name in sorted(stratum.unique(), key=_place)
        for region, by_metric in summarize(metrics[stratum == name]).items()
        for metric, summary in by_metric.items()
    ]
    return pd.DataFrame(rows, columns=["stratum", "region", "metric", "mean", "std", "median", "n", "n_undefined"])


def _class_of(value: float, limits: tuple[float, ...], names: tuple[str, ...]) -> str:
    """Name of the interval that a value lies in; a limit, to a thousandth, belongs to the interval below it."""
    return names[int(np.searchsorted(limits, round(value, 3), side="left"))]  # 3.0000001 mm is a header's 3 mm


def _checked(frame: pd.DataFrame) -> pd.DataFrame:
    if "case" not in frame:
        raise ValueError("it has no column case")
    twice = frame["case"][frame["case"].duplicated()]
    if len(twice):
        raise ValueError(f"{twice.iloc[0]} stands in it twice")
    return frame


def _value(column: str, cell: str) -> Stratum:
    """What a cell of the file says; columns of the user's own are text."""
    if cell == "":
        return None
    if column in _MEASURED:
        return float(cell)
    if column in _YES_NO:
        if cell not in ("True", "False"):
            raise ValueError(f"{column} is {cell}, but must be True or False")
        return cell == "True"
    return int(cell) if column in _COUNTS else cell


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    types = {
        **dict.fromkeys(_MEASURED, "float64"),
        **dict.fromkeys(_COUNTS, "Int64"),
        **dict.fromkeys(_YES_NO, "boolean"),
    }
    return frame.astype({name: kind for name, kind in types.items() if name in frame})


def _place(stratum: Any) -> tuple[int, float, str]:
    """Order of strata: the known classes in theirs, then numbers, yes after no, then texts, undefined last."""
    if stratum == UNDEFINED:
        return 3, 0, ""
    if stratum in _ORDER:
        return 0, _ORDER[stratum], ""
    try:
        return 1, float(stratum), ""
    except ValueError:
        return 2, 0, str(stratum)
