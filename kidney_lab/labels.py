"""Labels and regions: what a voxel's value means, and which values are scored together.

Torch-free and free of Hydra, so that scoring and the command line's help stay fast. The regions are KiTS's
"hierarchical evaluation classes" (KiTS21 and KiTS23, https://kits-challenge.org) and the two single labels beside them.
"""

from typing import Final

BACKGROUND: Final = 0
KIDNEY: Final = 1
TUMOR: Final = 2
CYST: Final = 3  # KiTS19 has no cysts: its annotators left them inside the kidney

LABELS: Final[dict[str, int]] = {"kidney": KIDNEY, "tumor": TUMOR, "cyst": CYST}
"""Foreground labels by name; 0 is background."""

REGIONS: Final[dict[str, tuple[int, ...]]] = {
    "kidney_and_mass": (KIDNEY, TUMOR, CYST),
    "mass": (TUMOR, CYST),
    "tumor": (TUMOR,),
    "kidney": (KIDNEY,),
    "cyst": (CYST,),
}
"""Union of labels that each region stands for."""

OFFICIAL_REGIONS: Final[tuple[str, ...]] = ("kidney_and_mass", "mass", "tumor")
"""The nested regions that the KiTS21 and KiTS23 challenges score, outermost first."""
