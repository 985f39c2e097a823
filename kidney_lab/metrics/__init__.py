"""Scores of segmentations: pure functions on NumPy arrays `(D, H, W)`, free of torch and Hydra.

The files that read label maps (`evaluate`), measure annotators (`agreement`) and rank teams (`ranking`) are imported by
their own names.
"""

from kidney_lab.metrics.case_scores import Scoring, case_scores
from kidney_lab.metrics.dice import dice
from kidney_lab.metrics.distances import average_symmetric_surface_distance, hausdorff_distance
from kidney_lab.metrics.generalized_dice import generalized_dice
from kidney_lab.metrics.kits import METRICS, TOLERANCES_MM, kits_scores
from kidney_lab.metrics.kits19 import kits19_scores
from kidney_lab.metrics.lesions import detect_lesions, lesion_scores
from kidney_lab.metrics.overlap import Confusion, confusion
from kidney_lab.metrics.pooled import pooled_scores
from kidney_lab.metrics.scoring import METRIC_TABLE, Metric, choose_metrics, find_metric
from kidney_lab.metrics.strata import case_strata
from kidney_lab.metrics.surface import SurfaceDistances, contour_distances, surface_dice, surface_distances
from kidney_lab.metrics.table import metrics_frame, read_metrics, summarize, write_metrics
from kidney_lab.metrics.volume import false_positive_volume_ml, relative_volume_difference, volume_ml

__all__ = [
    "METRICS",
    "METRIC_TABLE",
    "TOLERANCES_MM",
    "Confusion",
    "Metric",
    "Scoring",
    "SurfaceDistances",
    "average_symmetric_surface_distance",
    "case_scores",
    "case_strata",
    "choose_metrics",
    "confusion",
    "contour_distances",
    "detect_lesions",
    "dice",
    "false_positive_volume_ml",
    "find_metric",
    "generalized_dice",
    "hausdorff_distance",
    "kits19_scores",
    "kits_scores",
    "lesion_scores",
    "metrics_frame",
    "pooled_scores",
    "read_metrics",
    "relative_volume_difference",
    "summarize",
    "surface_dice",
    "surface_distances",
    "volume_ml",
    "write_metrics",
]
