"""What one stage says of a scan."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from kidney_lab.data.body import Box
from kidney_lab.data.prepare import PreparedImage
from kidney_lab.geometry import Triple
from kidney_lab.inference.priors import prior_labels
from kidney_lab.inference.restore import reached_slices, resample_slices
from kidney_lab.methods.output import Output
from kidney_lab.methods.prediction import Prediction, RollingSlices
from kidney_lab.methods.stage import Stage


@dataclass(eq=False)
class StageOutput:
    """What one stage says of a scan, computed when it is asked for; see `kidney_lab.inference.slabs.Slabs`.

    Slabs that are asked for in rising order are computed once, and none is held for long. Whoever asks for an earlier
    one again has the network go through the scan anew, unless the prediction is kept on the stage's own grid.

    Args:
        stage: that predicts.
        prepare: gives the scan on its grid.
        predict: predicts the scan on that grid.
        keep_bytes: of a prediction that is held once it is computed, in float32; a larger one is not.
    """

    stage: Stage
    prepare: Callable[[], PreparedImage]
    predict: Callable[[PreparedImage], Prediction]
    keep_bytes: float = 0

    @cached_property
    def prediction(self) -> Prediction:
        """On the stage's grid."""
        prediction = self.predict(self.prepare())
        voxels = math.prod(axis.stop - axis.start for axis in prediction.box)
        return prediction.kept() if 4 * prediction.channels * voxels <= self.keep_bytes else prediction

    @property
    def output(self) -> Output:
        """Meaning of the channels."""
        return self.stage.module.output

    @property
    def shape(self) -> Triple:
        """Shape of the scan's grid, `(D, H, W)`."""
        return self.prepare().source.shape

    @cached_property
    def box(self) -> Box:
        """The part of the scan that was prepared, in the slices that the prediction reaches."""
        slices, rows, columns = self.prepare().crop
        reached = reached_slices(self.prediction, slices.stop - slices.start)
        return slice(slices.start + reached.start, slices.start + reached.stop), rows, columns

    def slab(self, part: slice) -> Tensor:
        """Probabilities `(C, slices, h, w)` of slices of the box."""
        crop = self.prepare().crop
        d, h, w = (axis.stop - axis.start for axis in crop)
        return resample_slices(self._slices, (d, h, w), slice(part.start - crop[0].start, part.stop - crop[0].start))

    def prior(self, shape: Triple) -> NDArray[np.uint8]:
        """What a later stage takes from it, see `prior_labels`; decided on once for all stages on one grid.

        Args:
            shape: of the later stage's grid, `(D, H, W)`.
        """
        if shape not in self._priors:
            self._priors[shape] = prior_labels(self.prediction, shape, self.output)
        return self._priors[shape]

    @cached_property
    def _slices(self) -> RollingSlices:
        return RollingSlices(self.prediction)

    @cached_property
    def _priors(self) -> dict[Triple, NDArray[np.uint8]]:
        return {}
