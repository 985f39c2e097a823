"""Tolerances of the official surface Dice: how far apart annotators of KiTS draw the same border.

They come from the challenges' own evaluation (neheller/kits21 and neheller/kits23, `configuration/labels.py`).
"""

from typing import Final

TOLERANCES_MM: Final[dict[str, float]] = {
    "kidney_and_mass": 1.0330772532390826,
    "mass": 1.1328796488598762,
    "tumor": 1.1498198361434828,
    # The challenges give none for these two: they take the tolerance of the region that has the same outer surface.
    "kidney": 1.0330772532390826,
    "cyst": 1.1328796488598762,
}
"""Tolerance of the surface Dice for each region, in mm."""
