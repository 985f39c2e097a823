"""What a region of interest is found from."""

from typing import Protocol

from kidney_lab.data.body import Box
from kidney_lab.data.store import Sliceable


class RoiSource(Protocol):
    """A label map that samples are placed by: a case's reference, or what an earlier stage predicted for it."""

    @property
    def label(self) -> Sliceable | None:
        """Label values, uint8 `(D, H, W)`."""
        ...

    @property
    def foreground_box(self) -> Box | None:
        """Smallest box that holds every labelled voxel; None where nothing is labelled."""
        ...
