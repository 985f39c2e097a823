"""What every view offers, so that one dataset class serves them all."""

from collections.abc import Sequence
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from kidney_lab.data.store import Sliceable, Store, StoredCase
from kidney_lab.data.views.roi_source import RoiSource
from kidney_lab.data.views.window import Corner, Pictured, Window
from kidney_lab.geometry import Triple


class View(Protocol):
    """How training samples are read out of the store.

    A sample is drawn in two steps, since an augmentation that rotates or shrinks needs a larger box than the network:
    `draw` places the network's box, and `read` gives a box of any shape around it. Whole scans are cut by `windows`,
    read by the same `read`, and put together again by `place`.
    """

    @property
    def spatial_dims(self) -> int:
        """2 for slices, 3 for patches: what the network must take."""
        ...

    @property
    def channels(self) -> int:
        """Channels of the image."""
        ...

    @property
    def roi_size(self) -> Sequence[int]:
        """Shape of a sample as the network takes it, `(D, H, W)` or `(H, W)`."""
        ...

    @property
    def samples_per_epoch(self) -> int:
        """Training samples of an epoch, over all ranks."""
        ...

    @property
    def val_samples(self) -> int:
        """Samples of the validation loss, the same every time."""
        ...

    @property
    def quantize(self) -> bool:
        """Whether intensities are rounded to 256 grey levels, as where images are kept as PNG."""
        ...

    def fitted(self, store: Store, cases: Sequence[str]) -> Self:
        """The view with what depends on the training cases filled in.

        Args:
            store: to read from.
            cases: ids of the training cases.

        Returns:
            Another view, or this one where nothing depends on them.
        """
        ...

    def draw(
        self, case: StoredCase, rng: np.random.Generator, labels: Sequence[int], roi: RoiSource | None = None
    ) -> Corner:
        """Places a sample.

        Args:
            case: to draw from.
            rng: of the sample.
            labels: foreground labels of the dataset.
            roi: what an earlier stage predicted, where samples are placed by that; None: by the reference.

        Returns:
            First voxel `(d, h, w)` of a box of `roi_size`, on the view's own grid; possibly outside the volume. What
            stands behind these three is handed to `read` as it is.
        """
        ...

    def read(
        self, case: Pictured, labels: Sequence[Sliceable], corner: Corner, shape: Sequence[int]
    ) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
        """Reads a box.

        Args:
            case: to read the image from.
            labels: label maps on its grid: its reference or one annotator's, and an earlier stage's prediction; or
                none.
            corner: first voxel of the box.
            shape: of the box, as many axes as `roi_size`.

        Returns:
            Image `(C, *shape)`, HU, and label maps `(L, *shape)`.
        """
        ...

    def windows(
        self, shape: Triple, roi: NDArray[np.uint8] | None = None, smallest: Sequence[int] = ...
    ) -> Sequence[Window]:
        """Cuts a whole scan into samples for the network.

        Args:
            shape: of the scan on the stage's grid, `(D, H, W)`.
            roi: label map of that shape, by an earlier stage, where samples are placed by that.
            smallest: shape that the inferer needs at least, as many axes as `roi_size`.

        Returns:
            Windows; none where the view looks at nothing, and then nothing is predicted.
        """
        ...

    def place(self, probabilities: Tensor, window: Window, shape: Triple) -> Tensor:
        """Brings the network's answer about a window back to the scan's grid.

        Args:
            probabilities: `(K, *window.shape)`.
            window: that they are about.
            shape: of the scan.

        Returns:
            `(K, *window.box)`.
        """
        ...
