"""The clinical table's columns: type, unit, meaning and values, one declaration for every edition of KiTS.

Names and values are those of KiTS23's `kits23.json`; those by which KiTS19's and KiTS21's `kits.json` call the same
thing are listed beside them. Source of the meanings: N. Heller et al., "The KiTS19 Challenge Data" (arXiv 1904.00445),
and the three challenges' files. TNM stages follow the AJCC's manual, 8th edition; the grade is that of the WHO and
ISUP; complications follow D. Dindo et al. (Annals of Surgery 2004, doi:10.1097/01.sla.0000133083.54934.ae); the
comorbidities are those of the Charlson index (doi:10.1016/0021-9681(87)90171-8).

What the files leave open: `null`, "not_applicable" and "na" do not tell what is unknown from what does not apply, so
all of them are missing values here.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import pandas as pd

Kind = Literal["number", "integer", "boolean", "category"]

TUMOR_VOLUME: Final = "tumor_volume_ml"
"""Column that is measured on the reference segmentations, and stands in no edition's file."""


@dataclass(frozen=True)
class Column:
    """One column.

    Args:
        name: groups of the file are flattened, as in `comorbidities.copd`.
        kind: what its values are.
        meaning: a few words.
        unit: of a number; empty where it has none.
        values: of a category, in order; text is compared in lower case.
        closed: whether any other value is an error. Open lists grow by what a file brings.
        ordered: whether the values are a scale.
        also: names of the same column in other editions.
        renamed: values of other editions, by this edition's.
        missing: words in place of a number that mean that there is none.
        at_least: column that is true where the file has only a lower bound, such as ">=90".
        minimum: the smallest that a number can be: only a day, counted from another, is negative.
    """

    name: str
    kind: Kind
    meaning: str
    unit: str = ""
    values: tuple[str, ...] = ()
    closed: bool = False
    ordered: bool = False
    also: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    at_least: str = ""
    minimum: float = 0.0

    def dtype(self, found: tuple[str, ...] = ()) -> "pd.api.extensions.ExtensionDtype":
        """Nullable type of pandas; values that were `found` beyond those of an open list come last."""
        if self.kind == "category":
            further = sorted(set(found) - set(self.values))
            return pd.CategoricalDtype([*self.values, *further], ordered=self.ordered)
        return {"number": pd.Float64Dtype(), "integer": pd.Int64Dtype(), "boolean": pd.BooleanDtype()}[self.kind]


_COMORBIDITIES = {
    "myocardial_infarction": "myocardial infarction",
    "congestive_heart_failure": "congestive heart failure",
    "peripheral_vascular_disease": "peripheral vascular disease",
    "cerebrovascular_disease": "cerebrovascular disease",
    "dementia": "dementia",
    "copd": "chronic obstructive pulmonary disease",
    "connective_tissue_disease": "connective tissue disease",
    "peptic_ulcer_disease": "peptic ulcer disease",
    "uncomplicated_diabetes_mellitus": "diabetes without end-organ damage",
    "diabetes_mellitus_with_end_organ_damage": "diabetes with end-organ damage",
    "chronic_kidney_disease": "chronic kidney disease",
    "hemiplegia_from_stroke": "hemiplegia after a stroke",
    "leukemia": "leukemia",
    "malignant_lymphoma": "malignant lymphoma",
    "localized_solid_tumor": "another solid tumor, localized",
    "metastatic_solid_tumor": "another solid tumor, metastatic",
    "mild_liver_disease": "mild liver disease",
    "moderate_to_severe_liver_disease": "moderate to severe liver disease",
    "aids": "AIDS",
}

_RECENTLY = {
    "never_or_not_in_last_3mo": "never_or_not_in_the_last_3_months",
    "quit_in_last_3mo": "quit_in_the_last_3_months",
}


def _flag(name: str, meaning: str) -> Column:
    return Column(name, "boolean", meaning)


def _days(name: str, meaning: str, also: tuple[str, ...] = ()) -> Column:
    return Column(name, "integer", meaning, "days", also=also, minimum=-math.inf)


def _scale(name: str, meaning: str, *values: str, also: tuple[str, ...] = ()) -> Column:
    return Column(name, "category", meaning, values=values, closed=True, ordered=True, also=also)


def _egfr(name: str, meaning: str, *, days: str, also: tuple[str, ...] = ()) -> tuple[Column, ...]:
    """The estimated glomerular filtration rate, which laboratories report as ">=90" above that."""
    bound, value = f"{name}.at_least", f"{name}.value"
    return (
        Column(
            value, "number", f"eGFR, {meaning}", "ml/min/1.73 m\N{SUPERSCRIPT TWO}", missing=("age<16",), at_least=bound
        ),
        _flag(bound, f"whether {value} is a lower bound (>=90)"),
        _days(f"{name}.{days}", f"{days.replace('_', ' ')} of that measurement", also),
    )


SCHEMA: Final[tuple[Column, ...]] = (
    Column("age_at_nephrectomy", "integer", "age at surgery", "years"),
    Column("gender", "category", "gender", values=("female", "male")),
    Column("bmi", "number", "body mass index", "kg/m\N{SUPERSCRIPT TWO}", also=("body_mass_index",)),
    *(_flag(f"comorbidities.{name}", meaning) for name, meaning in _COMORBIDITIES.items()),
    Column(
        "smoking_history",
        "category",
        "smoking",
        values=("never_smoked", "previous_smoker", "current_smoker"),
        renamed={"not_found_in_emr": "na"},
    ),
    Column("age_when_quit_smoking", "integer", "age at which smoking ended", "years"),
    Column("pack_years", "number", "packs a day times years of smoking", "pack-years"),
    Column(
        "chewing_tobacco_use",
        "category",
        "chewing tobacco",
        values=("never_or_not_in_the_last_3_months", "quit_in_the_last_3_months", "currently_chews"),
        renamed=_RECENTLY,
    ),
    Column(
        "alcohol_use",
        "category",
        "alcoholic drinks",
        values=(
            "never_or_not_in_the_last_3_months",
            "quit_in_the_last_3_months",
            "two_or_less_daily",
            "more_than_two_daily",
        ),
        renamed=_RECENTLY,
    ),
    *_egfr("last_preop_egfr", "last before surgery", days="days_before_nephrectomy"),
    Column("radiographic_size", "number", "largest diameter of the tumor in the scan", "cm"),
    Column("surgery_type", "category", "technique", values=("open", "laparoscopic", "robotic")),
    Column(
        "surgical_procedure",
        "category",
        "what was removed",
        values=("partial_nephrectomy", "radical_nephrectomy"),
        closed=True,
    ),
    Column("surgical_approach", "category", "way to the kidney", values=("transperitoneal", "retroperitoneal")),
    Column("operative_time", "number", "duration of surgery", "min"),
    Column("ischemia_time", "number", "time with the vessels of the kidney clamped", "min"),
    Column("estimated_blood_loss", "number", "blood lost in surgery", "ml"),
    _flag("cytoreductive", "whether surgery reduced a disease that had spread"),
    *(
        _flag(f"intraoperative_complications.{name}", f"during surgery: {name.replace('_', ' ')}")
        for name in ("blood_transfusion", "injury_to_surrounding_organ", "cardiac_event")
    ),
    Column(
        "hospitalization",
        "integer",
        "stay in hospital (missing for who died there)",
        "days",
        missing=("died_before_discharge",),
    ),
    _scale(
        "clavien_surgical_complications",
        "worst complication, Clavien-Dindo",
        *("0", "1", "2", "3", "3a", "3b", "4", "4a", "4b", "5"),
    ),
    _flag("er_visit", "visit to the emergency room after discharge"),
    _flag("readmission", "readmission after discharge"),
    Column("pathologic_size", "number", "largest diameter of the removed tumor", "cm"),
    _flag("malignant", "whether the tumor is malignant"),
    _scale(
        "pathology_t_stage",
        "pathologic T stage",
        *("0", "1", "1a", "1b", "2", "2a", "2b", "3", "3a", "3b", "3c", "4", "x"),
    ),
    _scale("pathology_n_stage", "pathologic N stage (x: not assessed)", "0", "1", "2", "x"),
    _scale("pathology_m_stage", "pathologic M stage (x: not assessed)", "0", "1", "x"),
    Column(
        "tumor_histologic_subtype",
        "category",
        "histology",
        values=(
            "clear_cell_rcc",
            "papillary_rcc",
            "chromophobe_rcc",
            "clear_cell_papillary_rcc",
            "multilocular_cystic_rcc",
            "rcc_unclassified",
            "oncocytoma",
            "angiomyolipoma",
            "mest",
            "spindle_cell_neoplasm",
            "transitional_cell_carcinoma",
            "wilms_tumor",
            "other",
        ),
        renamed={
            "papillary": "papillary_rcc",
            "chromophobe": "chromophobe_rcc",
            "clear_cell_papillary": "clear_cell_papillary_rcc",
            "urothelial": "transitional_cell_carcinoma",  # two names of one tumor
            "wilms": "wilms_tumor",
        },
    ),
    _flag("tumor_necrosis", "necrosis in the tumor"),
    _scale("tumor_isup_grade", "grade of the WHO and ISUP", "1", "2", "3", "4"),
    _flag("sarcomatoid_features", "sarcomatoid features"),
    _flag("rhabdoid_features", "rhabdoid features"),
    _flag("positive_resection_margins", "tumor at the margin of what was removed"),
    _scale(
        "aua_risk_score",
        "risk of recurrence by the American Urological Association",
        *("benign", "low_risk", "intermediate_risk", "high_risk", "very_high_risk"),
        also=("aua_risk_group",),
    ),
    # KiTS19 calls the days after surgery "days before" as well; KiTS23 put that right, with the same numbers.
    *_egfr(
        "first_postop_egfr",
        "first after surgery",
        days="days_after_nephrectomy",
        also=("first_postop_egfr.days_before_nephrectomy",),
    ),
    *_egfr(
        "last_postop_egfr",
        "last after surgery",
        days="days_after_nephrectomy",
        also=("last_postop_egfr.days_before_nephrectomy",),
    ),
    Column("vital_status", "category", "dead, or alive when last seen", values=("censored", "dead"), closed=True),
    _days("vital_days_after_surgery", "from surgery to death or the last contact"),
    Column("voxel_spacing.z_spacing", "number", "distance between slices (D)", "mm"),
    Column("voxel_spacing.y_spacing", "number", "distance between rows (H)", "mm"),
    Column("voxel_spacing.x_spacing", "number", "distance between columns (W)", "mm"),
)
"""Every declared column, in the order of the table."""

GROUPS: Final = frozenset(column.name.rpartition(".")[0] for column in SCHEMA) - {""}
"""Names of the groups that the files nest columns in."""
