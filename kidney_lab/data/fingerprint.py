"""A dataset's fingerprint: spacing and shape of every case, out of the files' headers alone.

What a network is planned from (Isensee et al., Nature Methods 18, 2021, doi:10.1038/s41592-020-01008-z, "dataset
fingerprint"), and what papers describe their data by, such as Table 4.1 of Hao (master's thesis, Melbourne 2024). No
voxel is read, so that hundreds of cases take seconds; nnU-Net's fingerprint also has intensities, and shapes without
the border of zeros, which a CT does not have.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kidney_lab.data.kits import Case
from kidney_lab.errors import InputError
from kidney_lab.geometry import Spacing

STATISTICS: Final[dict[str, Callable[[NDArray[Any]], NDArray[np.float64]]]] = {
    "mean": lambda values: values.mean(axis=0),
    "median": lambda values: np.median(values, axis=0),
    "max": lambda values: values.max(axis=0),
    "min": lambda values: values.min(axis=0),
    "q1": lambda values: np.percentile(values, 25, axis=0),
    "q3": lambda values: np.percentile(values, 75, axis=0),
}
"""What is said of a quantity over all cases, in the order of the thesis' table; quartiles by linear interpolation."""

QUANTITIES: Final = {"spacing": "mm", "shape": "voxels", "extent": "mm"}
"""What a fingerprint has of every case, and its unit."""


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """Spacing and shape of every case, in memory order, `(D, H, W)`.

    Args:
        cases: ids.
        spacings: `(N, 3)` mm.
        shapes: `(N, 3)` voxels.
    """

    cases: tuple[str, ...]
    spacings: NDArray[np.float64]
    shapes: NDArray[np.int64]

    @property
    def extents(self) -> NDArray[np.float64]:
        """What every volume covers, `(N, 3)` mm."""
        return self.spacings * self.shapes

    def statistics(self) -> dict[str, dict[str, Spacing]]:
        """Every statistic of every quantity, `{quantity: {statistic: (D, H, W)}}`."""
        return {
            "spacing": axis_statistics(self.spacings),
            "shape": axis_statistics(self.shapes),
            "extent": axis_statistics(self.extents),
        }

    def frame(self) -> pd.DataFrame:
        """A row per case: `case`, `spacing_d` to `spacing_w` in mm, and `shape_d` to `shape_w`."""
        columns: dict[str, Any] = {"case": list(self.cases)}
        for name, values in (("spacing", self.spacings), ("shape", self.shapes)):
            columns |= {f"{name}_{axis}": values[:, k] for k, axis in enumerate("dhw")}
        return pd.DataFrame(columns)


def take_fingerprint(cases: Sequence[Case]) -> Fingerprint:
    """Reads the header of every case: of its image, or of its reference where there is no image.

    Args:
        cases: each with a file.

    Returns:
        The fingerprint, in the order of the cases.

    Raises:
        InputError: there are no cases, or a header is broken.
    """
    if not cases:
        raise InputError("There are no cases to take a fingerprint of: choose others by data.cases= or data.exclude=.")
    grids = [case.grid() for case in cases]
    return Fingerprint(
        cases=tuple(case.id for case in cases),
        spacings=np.array([grid.spacing for grid in grids]),
        shapes=np.array([grid.shape for grid in grids], dtype=np.int64),
    )


def axis_statistics(values: NDArray[Any]) -> dict[str, Spacing]:
    """`STATISTICS` of values `(N, 3)` along each axis."""
    found = {}
    for name, statistic in STATISTICS.items():
        d, h, w = (float(value) for value in statistic(values))
        found[name] = (d, h, w)
    return found


def statistics_frame(statistics: dict[str, dict[str, Spacing]]) -> pd.DataFrame:
    """The statistics as a table: `quantity,unit,statistic,d,h,w`."""
    return pd.DataFrame(
        [
            {"quantity": quantity, "unit": QUANTITIES[quantity], "statistic": name, "d": d, "h": h, "w": w}
            for quantity, by_name in statistics.items()
            for name, (d, h, w) in by_name.items()
        ]
    )
