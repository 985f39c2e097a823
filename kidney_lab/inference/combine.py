"""How the outputs of a method's stages become one label map.

Where the last stage predicts everything it decides alone (`LastStage`). Where every stage predicts one region, as in
Zheng et al., "Multi-scale adversarial learning and difficult supervision for kidney and kidney tumor segmentation
methods", BMVC 2022, the regions are put into each other (`NestedRegions`): the tumor in the mass, the mass in
kidney_and_mass; what of the mass is no tumor is a cyst (section 3.2 and the conclusion). The paper leaves open what
happens to a tumor outside the mass, or a mass outside the kidney.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from kidney_lab.errors import InputError
from kidney_lab.labels import REGIONS
from kidney_lab.methods.output import own_labels

LabelMap = NDArray[np.uint8]
Labels = Callable[[], LabelMap]
"""Gives the label map of a stage on the scan's grid, computed when it is asked for."""

Nesting = Literal["union", "intersection"]


class Combine(Protocol):
    """From the label maps of all stages to the method's."""

    @property
    def needs(self) -> Sequence[str]:
        """Names of the stages that it asks; none: whichever is the last."""
        ...

    def __call__(self, labels: Mapping[str, Labels]) -> LabelMap:
        """Combines.

        Args:
            labels: of every stage, by name, in order; `(D, H, W)`.

        Returns:
            uint8 `(D, H, W)`.
        """
        ...


@dataclass(frozen=True)
class LastStage:
    """The last stage decides."""

    needs: Sequence[str] = ()

    def __call__(self, labels: Mapping[str, Labels]) -> LabelMap:
        """The last stage's label map."""
        return list(labels.values())[-1]()


@dataclass(frozen=True)
class NestedRegions:
    """Every region is decided by a stage of its own, and lies in the one before it.

    Args:
        stages: name of the stage that decides each region, regions from the outermost inward; a region whose stage is
            null is left out, as the mass of a dataset without cysts, where it is the tumor.
        nesting: what a region that reaches beyond the one before it does: the outer one grows (`union`), or what
            reaches out is dropped (`intersection`).

    Raises:
        InputError: the regions are not nested, or there is no such nesting.
    """

    stages: Mapping[str, str | None]
    nesting: Nesting = "union"

    def __post_init__(self) -> None:
        unknown = [name for name in self.stages if name not in REGIONS]
        if unknown or not self.regions:
            raise InputError(
                f"model.combine.stages={dict(self.stages)} must name the stage of at least one region out of "
                f"{', '.join(REGIONS)}."
            )
        own_labels(self.regions)
        if self.nesting not in get_args(Nesting):
            raise InputError(
                f"model.nesting={self.nesting} is unknown: choose union or intersection (a label map nests its regions "
                "whatever is done, so that leaving them as they are would be union)."
            )

    @property
    def regions(self) -> list[str]:
        """The regions that take part, outermost first."""
        return [region for region, stage in self.stages.items() if stage is not None]

    @property
    def needs(self) -> Sequence[str]:
        """The stages that decide."""
        return [stage for stage in self.stages.values() if stage is not None]

    def __call__(self, labels: Mapping[str, Labels]) -> LabelMap:
        """The label map that holds every region where its stage finds it."""
        values = [REGIONS[region] for region in self.regions]
        masks = [np.isin(labels[stage](), held) for stage, held in zip(self.needs, values, strict=True)]
        return nest(masks, own_labels(self.regions), nesting=self.nesting)


def nest(masks: Sequence[NDArray[np.bool_]], values: Sequence[int], *, nesting: Nesting = "union") -> LabelMap:
    """Paints regions into each other.

    Args:
        masks: of the regions, `(D, H, W)`, outermost first.
        values: label of what of each region does not belong to the next.
        nesting: see `NestedRegions`.

    Returns:
        uint8 `(D, H, W)`.
    """
    result, outer = np.zeros(masks[0].shape, np.uint8), 0
    for number, (mask, value) in enumerate(zip(masks, values, strict=True)):
        # Painted over the regions outside it, a region makes each of them larger by what it has beyond them.
        inside = mask & (result == outer) if nesting == "intersection" and number > 0 else mask
        result[inside] = value
        outer = value
    return result
