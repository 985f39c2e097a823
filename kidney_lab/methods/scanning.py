"""How a network goes through a scan: window after window, from the first slice to the last."""

import heapq
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

import torch
from monai.data.utils import compute_importance_map
from monai.inferers import SlidingWindowInferer
from torch import Tensor

from kidney_lab.data.views import View
from kidney_lab.data.views.window import Scan, Window, batches
from kidney_lab.geometry import Triple
from kidney_lab.methods.inference_settings import InferenceSettings
from kidney_lab.methods.mirroring import mirrored
from kidney_lab.methods.prediction import Part, Prediction, hull_of_parts, join
from kidney_lab.methods.sliding_window import slide
from kidney_lab.methods.supervised import SupervisedSegmentation
from kidney_lab.methods.windows import shows_body, window_corners, window_size
from kidney_lab.progress import tell


@dataclass(frozen=True, eq=False)
class Scanning:
    """A stage's pass through a scan.

    MONAI's `SlidingWindowInferer` in three dimensions says where windows stand and how they are weighed; `slide` runs
    them, in bounded memory. Any other inferer is called with what the view cuts out, such as a batch of slices.

    Args:
        module: whose network looks.
        view: that cuts the scan.
        scan: on the stage's grid.
        show: what the network sees of a window, `(C, *window)`.
        batch_voxels: most voxels of windows that are looked at together, unless the inferer slides.
        settings: of inference.
        context: entered whenever the network computes.
    """

    module: SupervisedSegmentation
    view: View
    scan: Scan
    show: Callable[[Window], Tensor]
    batch_voxels: int
    settings: InferenceSettings
    context: Callable[[], AbstractContextManager[object]]

    def predict(self, windows: Sequence[Window]) -> Prediction:
        """What the network says of the view's windows, which are sorted by their first slice."""
        hull, device = hull_of_parts([window.box for window in windows]), self.module.device
        channels = self.module.output.channels

        def slabs() -> Iterator[Tensor]:
            return join(self._parts(windows), hull, channels=channels, device=device)

        return Prediction(slabs, hull, self.scan.shape, channels, device)

    def _parts(self, windows: Sequence[Window]) -> Iterator[Part]:
        """Probabilities of parts of the scan, sorted by their first slice."""
        inferer = self.module.inferer
        if not isinstance(inferer, SlidingWindowInferer) or self.view.spatial_dims < 3:
            return self._look(windows)
        plans = [self._plan(inferer, window) for window in windows]
        tally = Tally(sum(len(corners) for corners in plans))
        # Boxes lie beside each other about two kidneys: all of them are begun at once, each with its own sums.
        passes = [self._slide(inferer, *plan, tally) for plan in zip(windows, plans, strict=True)]
        return heapq.merge(*passes, key=lambda part: part[0][0].start)

    def _look(self, windows: Sequence[Window]) -> Iterator[Part]:
        """Whole windows in batches."""
        infer, tally = partial(self.module.infer, mirror_axes=self.settings.mirror_axes), Tally(len(windows))
        for batch in batches(windows, self.batch_voxels):
            for window, probabilities in zip(batch, self._compute(infer, batch, tally), strict=True):
                yield window.box, self.view.place(probabilities, window, self.scan.shape)

    def _plan(self, inferer: SlidingWindowInferer, window: Window) -> list[Triple]:
        """Where in a box windows of the inferer are run."""
        size = window_size(inferer, window.shape)
        corners = window_corners(window.shape, size, inferer.overlap)
        if not self.settings.skip_air:
            return corners
        return [corner for corner in corners if shows_body(self.scan.image, _moved(window, corner), size)]

    def _slide(
        self, inferer: SlidingWindowInferer, window: Window, corners: Sequence[Triple], tally: "Tally"
    ) -> Iterator[Part]:
        """A box, in slabs that an inferer's windows have been through."""
        depth, height, width = window.shape
        size, device = window_size(inferer, window.shape), self.module.device
        weight = compute_importance_map(size, mode=inferer.mode, sigma_scale=inferer.sigma_scale)
        scores_of = mirrored(self.module.scores, self.settings.mirror_axes)

        def look(corners: Sequence[Triple]) -> Tensor:
            inner = [Window(_moved(window, corner), size, window.box) for corner in corners]
            return self._compute(scores_of, inner, tally)

        slabs = slide(
            look,
            corners,
            shape=(depth, height, width),
            weight=weight.to(inferer.device or device),
            channels=self.module.output.channels,
            batch_size=inferer.sw_batch_size,
        )
        start = window.corner[0]
        for scores, seen in slabs:
            part = _part_of(window, start, scores.shape[1])
            start += scores.shape[1]
            if part.box[0].start < part.box[0].stop:
                probabilities = self.module.probabilities(scores[None])[0]
                probabilities = probabilities if bool(seen.all()) else probabilities * seen
                yield part.box, self.view.place(probabilities.to(device), part, self.scan.shape)

    def _compute(self, function: Callable[[Tensor], Tensor], windows: Sequence[Window], tally: "Tally") -> Tensor:
        """A function of what the network sees of windows of one shape."""
        seen = torch.stack([self.show(window) for window in windows]).to(self.module.device)
        with torch.no_grad(), self.context():
            result = function(seen)
            tally.add(len(windows))
        return result


@dataclass
class Tally:
    """Tells how many windows of a pass are done.

    Args:
        total: windows of the pass.
        done: those that have been computed.
    """

    total: int
    done: int = 0

    def add(self, n: int) -> None:
        """Counts windows."""
        self.done += n
        tell(self.done, self.total)


def _moved(window: Window, by: Triple) -> Triple:
    """The scan's voxel that lies in a 3D window at a place."""
    d, h, w = (a + b for a, b in zip(window.corner, by, strict=True))
    return d, h, w


def _part_of(window: Window, start: int, depth: int) -> Window:
    """Slices of a 3D window: `depth` of them from the scan's slice `start` on, as a window of its own."""
    slices, rows, columns = window.box
    reached = slice(max(slices.start, start), min(slices.stop, start + depth))
    return Window((start, *window.corner[1:]), (depth, *window.shape[1:]), (reached, rows, columns))
