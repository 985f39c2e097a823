"""What a stage takes from the stage before it: a region of interest, further input channels, or both."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from kidney_lab.data.priors import Priors
from kidney_lab.data.views.prior_input import PriorInput
from kidney_lab.errors import InputError
from kidney_lab.labels import LABELS
from kidney_lab.transforms.corrupt_prior import RandCorruptPriord

PriorKind = Literal["predicted", "out_of_fold", "reference", "none"]
RoiKind = Literal["reference", "predicted", "none"]


@dataclass(frozen=True)
class Earlier:
    """How a stage uses an earlier one.

    Validation, testing and prediction always use what the earlier stage really predicts; the settings say what the
    training sees.

    Args:
        stage: name of the earlier stage.
        labels: names of the labels that become one input channel each.
        prior: what fills these channels in training: `predicted` (by the earlier stage, which has seen these cases),
            `out_of_fold` (by networks trained on the other folds, so that no case's prior comes from a network that saw
            it), `reference`, or `none`: there are no such channels.
        roi: what the training boxes are placed by: the `reference`, what is `predicted` (by the same networks as the
            prior), or `none`: the stage works on whole volumes.
        n_folds: networks that share the training cases for `out_of_fold`.
        corrupt: random changes of the prior in training.

    Raises:
        InputError: on a kind that is unknown.
    """

    stage: str
    labels: Sequence[str]
    prior: PriorKind = "predicted"
    roi: RoiKind = "reference"
    n_folds: int = 5
    corrupt: RandCorruptPriord | None = None

    def __post_init__(self) -> None:
        for key, value, kinds in (("prior", self.prior, get_args(PriorKind)), ("roi", self.roi, get_args(RoiKind))):
            if value not in kinds:
                raise InputError(f"model.{key}={value} is unknown: choose one of {', '.join(kinds)}.")
        unknown = [str(name) for name in self.labels if name not in LABELS]
        if unknown:
            raise InputError(f"model.from_coarse.labels holds {', '.join(unknown)}: choose from {', '.join(LABELS)}.")

    @property
    def channels(self) -> int:
        """Number of input channels that it adds."""
        return len(self.values)

    @property
    def values(self) -> list[int]:
        """Label values of these channels."""
        return [] if self.prior == "none" else [LABELS[name] for name in self.labels]

    @property
    def predicts_training_cases(self) -> bool:
        """Whether training needs the earlier stage's predictions of its own cases."""
        return self.prior in ("predicted", "out_of_fold") or self.roi == "predicted"

    def for_training(self, priors: Priors | None) -> PriorInput:
        """What training samples take.

        Args:
            priors: predictions of the training cases, where `predicts_training_cases`.
        """
        return PriorInput(
            priors,
            labels=self.values,
            places=self.roi == "predicted",
            reference=self.prior == "reference",
            corrupt=None if self.prior == "none" else self.corrupt,
        )

    def for_validation(self, priors: Priors) -> PriorInput:
        """What validation samples take.

        Args:
            priors: predictions of the validation cases.
        """
        return PriorInput(priors, labels=self.values, places=self.roi != "none")
