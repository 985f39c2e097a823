"""Scores of segmentations: pure functions on NumPy arrays `(D, H, W)`, free of torch and Hydra."""

from kidney_lab.metrics.dice import dice
from kidney_lab.metrics.kits import METRICS, TOLERANCES_MM, kits_scores
from kidney_lab.metrics.surface import SurfaceDistances, surface_dice, surface_distances
from kidney_lab.metrics.table import metrics_frame, read_metrics, summarize, write_metrics

__all__ = [
    "METRICS",
    "TOLERANCES_MM",
    "SurfaceDistances",
    "dice",
    "kits_scores",
    "metrics_frame",
    "read_metrics",
    "summarize",
    "surface_dice",
    "surface_distances",
    "write_metrics",
]
