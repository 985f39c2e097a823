"""What the metrics of one region are made of, each computed when a metric first asks for it, and only once."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from kidney_lab.geometry import Spacing
from kidney_lab.metrics.lesions import Detection, detect_lesions
from kidney_lab.metrics.overlap import Confusion, confusion
from kidney_lab.metrics.surface import Surface, SurfaceDistances, contour_distances, surface_distances


@dataclass(frozen=True, eq=False)
class Measurement:
    """The masks of one region, in a case or in one slice of it.

    Args:
        prediction: mask `(D, H, W)` bool, which may be cut to any box that holds both masks.
        reference: mask of the same shape.
        spacing_mm: distance between voxels, (D, H, W), in mm.
        tolerance_mm: of the surface Dice.
        voxels: number of voxels of the whole scan or slice that the masks were cut out of.
        surface: what counts as surface.
        in_plane: the masks are one slice, so that distances are those between outlines.
    """

    prediction: NDArray[Any]
    reference: NDArray[Any]
    spacing_mm: Spacing
    tolerance_mm: float
    voxels: int
    surface: Surface = "surfel"
    in_plane: bool = False

    @cached_property
    def counts(self) -> Confusion:
        """Voxels by what the prediction and the reference say."""
        return confusion(self.prediction, self.reference, voxels=self.voxels)

    @cached_property
    def distances(self) -> SurfaceDistances:
        """Distances between both surfaces, or between both outlines."""
        measure = contour_distances if self.in_plane else surface_distances
        return measure(self.prediction, self.reference, self.spacing_mm, surface=self.surface)

    @cached_property
    def lesions(self) -> Detection:
        """The lesions of both masks and how they match."""
        return detect_lesions(self.prediction, self.reference, self.spacing_mm)
