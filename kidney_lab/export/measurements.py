"""What a label map says about a patient in numbers, one row per finding: `<case>.measurements.csv`, `measurements.csv`.

| column | meaning |
|---|---|
| `case` | name of the scan |
| `region` | `kidney_and_mass`, `kidney` (renal tissue alone), `tumor` or `cyst`, see `kidney_lab.labels.REGIONS` |
| `lesion` | number of a single tumor, the largest first; empty in the row of a whole region |
| `side` | the patient's `left` or `right`, of each kidney and of each tumor; empty for both sides together |
| `volume_ml` | number of voxels times the volume of one |
| `diameter_mm` | of a tumor: the largest in an axial slice, from outer voxel edge to outer voxel edge |
| `slice` | of a tumor: the slice of that diameter, counted from 0 along the scan's own axis |
| `right_mm`, `anterior_mm`, `superior_mm` | of a tumor: its centre of mass in the patient's coordinates |

A tumor is a connected component (26 neighbours) that is no speck (`kidney_lab.metrics.components.SPECK_ML`, a sphere of
5 mm); specks count in the volume of the region. Coordinates are NIfTI's (RAS+); DICOM has the negatives of the first
two. An empty cell is not defined.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from kidney_lab.data.nifti_forms import check_right_angles
from kidney_lab.export.sides import SIDES, Side, Sides, find_sides, outline, world_points
from kidney_lab.files import write_text
from kidney_lab.geometry import Grid, Volume, reorient
from kidney_lab.labels import REGIONS, TUMOR
from kidney_lab.metrics.components import SPECK_ML, Component, axial_diameter_mm, connected_components
from kidney_lab.metrics.surface import common_box
from kidney_lab.metrics.volume import volume_ml

_WHOLE = ("tumor", "cyst")
_DECIMALS = 3


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A region or a single tumor; fields as the columns of `measurements.csv`."""

    region: str
    lesion: int | None = None
    side: Side | None = None
    volume_ml: float
    diameter_mm: float | None = None
    slice: int | None = None
    right_mm: float | None = None
    anterior_mm: float | None = None
    superior_mm: float | None = None


COLUMNS: Final = ("case", *(field.name for field in fields(Finding)))


def measure(labels: Volume, *, min_volume_ml: float = SPECK_ML) -> list[Finding]:
    """Measures a label map.

    Args:
        labels: `(D, H, W)` label values, in any orientation; oblique affines are followed exactly.
        min_volume_ml: connected components of tumor that are smaller get no row; 0 gives one to each.

    Returns:
        The kidneys with their masses, each kidney, all tumors, all cysts, then the single tumors, largest first; a
        region that is not there has 0 ml.

    Raises:
        InputError: the axes are not at right angles to each other.
    """
    check_right_angles(labels.grid, "The label map")
    whole = reorient(labels)
    sides = find_sides(whole)
    labelled, spacing = whole.array[common_box(whole.array)], whole.grid.spacing
    voxel_ml = float(np.prod(spacing)) / 1000
    ml = {region: volume_ml(np.isin(labelled, REGIONS[region]), spacing) for region in ("kidney_and_mass", *_WHOLE)}
    return [
        Finding(region="kidney_and_mass", volume_ml=ml["kidney_and_mass"]),
        *(Finding(region="kidney", side=side, volume_ml=len(sides.renal[side]) * voxel_ml) for side in SIDES),
        *(Finding(region=region, volume_ml=ml[region]) for region in _WHOLE),
        *_tumors(whole, sides, labels.grid, min_volume_ml),
    ]


def measurements_frame(findings: Mapping[str, Sequence[Finding]]) -> pd.DataFrame:
    """Makes the table of one or more cases.

    Args:
        findings: of each case, by its name.

    Returns:
        Columns as `COLUMNS`; numbers to a thousandth of their unit, NaN or NA where there is none.
    """
    rows = [{"case": case, **asdict(finding)} for case, found in findings.items() for finding in found]
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"lesion": "Int64", "slice": "Int64"})
    measured = [name for name in COLUMNS if name.endswith(("_ml", "_mm"))]
    return frame.astype(dict.fromkeys(measured, "float64")).round(dict.fromkeys(measured, _DECIMALS))


def write_measurements(path: Path, frame: pd.DataFrame) -> None:
    """Writes the table of one or more cases, as a whole: UTF-8, decimal point, empty where there is no value."""
    write_text(path, frame.to_csv(index=False, lineterminator="\n"))


def _tumors(labels: Volume, sides: Sides, own: Grid, min_volume_ml: float) -> list[Finding]:
    """Single tumors of a label map in memory order; `own` is the grid that slices are counted on."""
    components = connected_components(labels.array == TUMOR, labels.grid.spacing)
    large = [component for component in components if component.volume_ml >= min_volume_ml]
    return [_tumor(number, component, labels.grid, sides, own) for number, component in enumerate(large, start=1)]


def _tumor(number: int, component: Component, grid: Grid, sides: Sides, own: Grid) -> Finding:
    corner = [axis.start for axis in component.box]
    diameters = [axial_diameter_mm(plane[np.newaxis], component.spacing_mm) for plane in component.mask]
    widest = int(np.argmax(diameters))
    right, anterior, superior = world_points(component.mask, grid, corner).mean(axis=0)
    return Finding(
        region="tumor",
        lesion=number,
        side=sides.of(world_points(outline(component.mask), grid, corner)),
        volume_ml=component.volume_ml,
        diameter_mm=diameters[widest],
        slice=_own_slice(corner[0] + widest, grid, own),
        right_mm=float(right),
        anterior_mm=float(anterior),
        superior_mm=float(superior),
    )


def _own_slice(index: int, grid: Grid, own: Grid) -> int:
    """Index of a slice along the scan's own axis, which may run upwards; in memory slices run downwards."""
    return index if grid.orientation[0] in own.orientation else grid.shape[0] - 1 - index
