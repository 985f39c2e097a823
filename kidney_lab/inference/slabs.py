"""What is said of a scan: probabilities on the scan's own grid, a slab of slices at a time.

A stage, stages whose regions are put into each other, a whole run and an ensemble of runs all answer in this one form,
whatever grids their networks work on, so that each can be a member of the next. A full-resolution volume of
probabilities is never held: a slab is made when it is asked for. Whoever asks for slabs in rising order has every
network go through the scan once.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from kidney_lab.data.body import Box
from kidney_lab.geometry import Triple
from kidney_lab.inference.restore import slabs_of
from kidney_lab.labels import LABELS, REGIONS
from kidney_lab.methods.output import LabelOutput, Output, RegionOutput


class Slabs(Protocol):
    """Probabilities on a scan's own grid, in memory order."""

    @property
    def output(self) -> Output:
        """Meaning of the channels, and how labels are decided by them."""
        ...

    @property
    def shape(self) -> Triple:
        """Shape of the scan's grid, `(D, H, W)`."""
        ...

    @property
    def box(self) -> Box:
        """Part of the grid that anything is said of; outside of it lies background."""
        ...

    def slab(self, part: slice) -> Tensor:
        """Probabilities of slices of the box.

        Args:
            part: a range of the grid's slices within the box.

        Returns:
            `(C, slices, h, w)`, 0 to 1, rows and columns those of the box. A voxel of which nothing is said is 0 in all
            channels, that of a background too.
        """
        ...


def label_map(said: Slabs, observe: Callable[[slice, Tensor], None] | None = None) -> NDArray[np.uint8]:
    """Label map on the scan's grid, decided on slab by slab.

    Args:
        said: of the scan.
        observe: is shown every slab beside its slices, in rising order; for whoever wants probabilities as well.

    Returns:
        uint8 `(D, H, W)`.
    """
    result = np.zeros(said.shape, np.uint8)
    slices, rows, columns = said.box
    for part in slabs_of(slices):
        slab = said.slab(part)
        result[part, rows, columns] = said.output.decide(slab).cpu().numpy()
        if observe is not None:
            observe(part, slab)
    return result


def hull_of(boxes: Sequence[Box]) -> Box:
    """The smallest box that holds all boxes; those without a slice hold nothing."""
    filled = [box for box in boxes if box[0].stop > box[0].start] or boxes[:1]
    d, h, w = (slice(min(a.start for a in axes), max(a.stop for a in axes)) for axes in zip(*filled, strict=True))
    return d, h, w


def slab_in(said: Slabs, box: Box, part: slice) -> Tensor:
    """Probabilities of slices of a larger box; 0 where nothing is said.

    Args:
        said: of a scan.
        box: of the scan's grid, which holds the box of what is said unless that is empty.
        part: a range of the grid's slices within `box`.

    Returns:
        `(C, slices, h, w)`, rows and columns those of `box`.
    """
    slices, rows, columns = said.box
    start = min(max(part.start, slices.start), part.stop)
    stop = max(start, min(part.stop, slices.stop))
    slab = said.slab(slice(start, stop))
    if stop == start:  # its rows and columns may lie anywhere
        shape = (part.stop - part.start, box[1].stop - box[1].start, box[2].stop - box[2].start)
        return slab.new_zeros((len(slab), *shape))
    beside = [
        *(columns.start - box[2].start, box[2].stop - columns.stop),
        *(rows.start - box[1].start, box[1].stop - rows.stop),
        *(start - part.start, part.stop - stop),
    ]
    return F.pad(slab, beside) if any(beside) else slab


def distribution(slab: Tensor, output: Output) -> Tensor:
    """Probabilities of a softmax as shares of their sum where that is above 1; any other output's as they are.

    Where windows of a stage overlap, each channel keeps its larger probability (`kidney_lab.methods.prediction`). No
    decision by the largest channel changes.

    Args:
        slab: `(C, ...)`, 0 to 1.
        output: meaning of the channels.

    Returns:
        `(C, ...)`.
    """
    return slab / slab.sum(dim=0).clamp(min=1) if isinstance(output, LabelOutput) else slab


def region_probability(slab: Tensor, output: Output, region: str) -> Tensor:
    """Probability of a region: the sum of its labels' shares, or the largest of its own and of those inside it.

    The second is what a label map of nested regions is decided by: wherever an inner region is painted, the outer one
    is.

    Args:
        slab: `(C, ...)`, 0 to 1.
        output: meaning of the channels; one that gives the region.
        region: its name.

    Returns:
        `(...)`, 0 to 1.
    """
    if isinstance(output, LabelOutput):
        channels = [k for k, name in enumerate(output.labels, start=1) if LABELS[name] in REGIONS[region]]
        return distribution(slab, output)[channels].sum(dim=0).clamp(max=1)  # of rounding alone
    if isinstance(output, RegionOutput):
        return slab[[k for k, name in enumerate(output.regions) if set(REGIONS[name]) <= set(REGIONS[region])]].amax(0)
    raise TypeError(f"the channels of {type(output).__name__} are neither labels nor regions")
