"""What a region of interest is found from, and its boxes."""

from collections.abc import Sequence
from typing import Final, Protocol
from weakref import WeakKeyDictionary

from kidney_lab.data.body import Box
from kidney_lab.data.store import Sliceable
from kidney_lab.data.views.roi_boxes import boxes_about


class RoiSource(Protocol):
    """A label map that samples are placed by: a case's reference, or what an earlier stage predicted for it.

    Boxes are kept for as long as the object lives, so that a case must be the same object whenever it is asked for.
    """

    @property
    def label(self) -> Sliceable | None:
        """Label values, uint8 `(D, H, W)`."""
        ...

    @property
    def foreground_box(self) -> Box | None:
        """Smallest box that holds every labelled voxel; None where nothing is labelled."""
        ...


_FOUND: Final[WeakKeyDictionary[RoiSource, dict[tuple[int, ...], list[Box]]]] = WeakKeyDictionary()
"""Boxes by source and size: where a foreground does not fit into one, its whole label map must be decoded for them."""


def boxes_of(source: RoiSource, size: Sequence[int]) -> list[Box]:
    """The boxes that inference looks into, see `roi_boxes`, before they are moved into the volume.

    Args:
        source: decoded at most once per process and size, and only where its foreground does not fit into one box.
        size: `(D, H, W)` voxels of every box.

    Returns:
        Boxes, one at least; none where nothing is labelled.
    """
    found = _FOUND.setdefault(source, {})
    key = tuple(size)
    if key not in found:
        label, box = source.label, source.foreground_box
        found[key] = [] if label is None or box is None else boxes_about(label, box, size)
    return found[key]
