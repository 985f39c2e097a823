"""How what the members of a method say becomes one answer.

Where the last stage predicts everything it decides alone (`LastStage`). Where every stage predicts one region, as in
Zheng et al., "Multi-scale adversarial learning and difficult supervision for kidney and kidney tumor segmentation
methods", BMVC 2022, the regions are put into each other (`NestedRegions`): the tumor in the mass, the mass in
kidney_and_mass; what of the mass is no tumor is a cyst (section 3.2 and the conclusion). The paper leaves open what
happens to a tumor outside the mass, or a mass outside the kidney. Where every member predicts everything, their mean
or their majority decides: `kidney_lab.inference.ensemble.Ensemble`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from kidney_lab.data.body import Box
from kidney_lab.errors import InputError
from kidney_lab.geometry import Triple
from kidney_lab.inference.slabs import Slabs, hull_of, region_probability, slab_in
from kidney_lab.labels import LABELS, REGIONS
from kidney_lab.methods.output import Output, RegionOutput, own_labels

Nesting = Literal["union", "intersection"]


class Combination(Protocol):
    """From what all members say to the method's answer; members are stages and other runs, by name, in order."""

    def check(self, members: Sequence[str]) -> None:
        """Makes sure that it works on these members.

        Raises:
            InputError: it does not.
        """
        ...

    def asks(self, members: Sequence[str]) -> Sequence[str]:
        """Those of the members whose answers it is made of."""
        ...

    def output(self, outputs: Mapping[str, Output]) -> Output:
        """Meaning of the answer's channels, given that of the members'."""
        ...

    def __call__(self, members: Mapping[str, Slabs]) -> Slabs:
        """Combines what the members say of one scan; nothing is computed before a slab is asked for."""
        ...


@dataclass(frozen=True)
class LastStage:
    """The last stage decides."""

    def check(self, members: Sequence[str]) -> None:
        """Makes sure that there is one.

        Raises:
            InputError: there is none.
        """
        if not members:
            raise InputError("None of the stages of model.stages is enabled: enable one.")

    def asks(self, members: Sequence[str]) -> Sequence[str]:
        """The last one."""
        return members[-1:]

    def output(self, outputs: Mapping[str, Output]) -> Output:
        """That of the last stage."""
        return list(outputs.values())[-1]

    def __call__(self, members: Mapping[str, Slabs]) -> Slabs:
        """What the last stage says."""
        return list(members.values())[-1]


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
        if unknown or not self.sources:
            raise InputError(
                f"model.combination.stages={dict(self.stages)} must name the stage of at least one region out of "
                f"{', '.join(REGIONS)}."
            )
        own_labels(list(self.sources))
        if self.nesting not in get_args(Nesting):
            raise InputError(
                f"model.nesting={self.nesting} is unknown: choose union or intersection (a label map nests its regions "
                "whatever is done, so that leaving them as they are would be union)."
            )

    @property
    def sources(self) -> dict[str, str]:
        """The stage of each region that takes part, outermost first."""
        return {region: stage for region, stage in self.stages.items() if stage is not None}

    def check(self, members: Sequence[str]) -> None:
        """Makes sure that the stages that decide take part.

        Raises:
            InputError: one of them does not.
        """
        missing = [stage for stage in self.sources.values() if stage not in members]
        if missing:
            raise InputError(
                f"model.combination needs the stages {', '.join(missing)}, which are not enabled: the stages are "
                f"{', '.join(members)}."
            )

    def asks(self, members: Sequence[str]) -> Sequence[str]:
        """The stages that decide."""
        return list(dict.fromkeys(self.sources.values()))

    def output(self, outputs: Mapping[str, Output]) -> Output:
        """A channel for every region that takes part."""
        return RegionOutput(list(LABELS), list(self.sources))

    def __call__(self, members: Mapping[str, Slabs]) -> Slabs:
        """The regions, each as its stage says."""
        return Nested({region: members[stage] for region, stage in self.sources.items()}, self.nesting)


@dataclass(frozen=True, eq=False)
class Nested:
    """Regions that lie in each other, each said by a stage of its own; see `NestedRegions`.

    Args:
        sources: who says each region, outermost first.
        nesting: see `NestedRegions`.
    """

    sources: Mapping[str, Slabs]
    nesting: Nesting

    @cached_property
    def output(self) -> Output:
        """A channel for every region."""
        return RegionOutput(list(LABELS), list(self.sources))

    @property
    def shape(self) -> Triple:
        """Shape of the scan's grid, `(D, H, W)`."""
        return next(iter(self.sources.values())).shape

    @cached_property
    def box(self) -> Box:
        """The smallest one that holds all regions'."""
        return hull_of([source.box for source in self.sources.values()])

    def slab(self, part: slice) -> Tensor:
        """Probabilities `(regions, slices, h, w)`.

        A label map paints inner regions over outer ones, which is the union; in the intersection a region is no more
        probable than the one around it.
        """
        slabs = {source: slab_in(source, self.box, part) for source in dict.fromkeys(self.sources.values())}
        said = [region_probability(slabs[source], source.output, region) for region, source in self.sources.items()]
        regions = torch.stack(said)
        return regions.cummin(dim=0).values if self.nesting == "intersection" else regions
