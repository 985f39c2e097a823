"""What tells the pixels that a refit of the softmax biases differently: their heat, a cluster of grey values, nothing.

Xue et al., "ERNet", Traitement du Signal 42(4), 2025, Table 3, compares bias learning guided by heatmaps with "Global
Bias" and with k-means of grey values (10, 20 and 30 clusters), and describes neither. Chosen: all fit the same network
to a pixel's probability and a second number. That number is the heat; 0 for all, so that one bias serves every pixel;
or the bias of the cluster that the pixel's grey value falls into. A cluster's bias is the one that squared error gives
it when it is added to the probability: the mean of `label - probability` over the cluster's training pixels. A single
cluster tells no pixels apart: `kmeans` is `none` then.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kidney_lab.errors import InputError
from kidney_lab.methods.refit_pixels import RoiPixels


class Groups(nn.Module, ABC):
    """What gives every pixel the second input of its refit."""

    def fit(self, pixels: RoiPixels) -> None:
        """Learns from the pixels of the training cases; nothing, unless a subclass does."""

    @abstractmethod
    def forward(self, heat: Tensor, image: Tensor) -> Tensor:
        """Second input of every pixel.

        Args:
            heat: any shape, 0 to 1.
            image: grey values, of the same shape.

        Returns:
            The second input, of the same shape.
        """


class Heatmap(Groups):
    """The second input is the heat: `groups=heatmap`, ERNet."""

    def forward(self, heat: Tensor, image: Tensor) -> Tensor:
        """The heat itself."""
        return heat


class GlobalBias(Groups):
    """The second input is 0 for all pixels: `groups=none`."""

    def forward(self, heat: Tensor, image: Tensor) -> Tensor:
        """Zeros of the heat's shape."""
        return torch.zeros_like(heat)


class GreyClusters(Groups):
    """The second input is the bias of the pixel's cluster of grey values: `groups=kmeans`.

    Args:
        k: clusters; 10, 20 or 30 in the paper.
        seed: of k-means.

    Raises:
        InputError: `k` is no whole number over 0.
    """

    centers: Tensor
    biases: Tensor

    def __init__(self, k: int = 10, *, seed: int = 0) -> None:
        super().__init__()
        if not isinstance(k, int) or isinstance(k, bool) or k < 1:
            raise InputError(
                f"model.refit.k={k} is no number of clusters: give 1 or more; the paper has 10, 20 and 30."
            )
        self.seed = seed
        self.register_buffer("centers", torch.zeros(k))
        self.register_buffer("biases", torch.zeros(k))

    @torch.no_grad()
    def fit(self, pixels: RoiPixels) -> None:
        """Clusters the grey values, and gives every cluster its bias.

        CT has few distinct grey values: k-means of each once, weighted by its count, is k-means of all pixels.

        Args:
            pixels: of the training cases.

        Raises:
            InputError: there are fewer distinct grey values than clusters.
        """
        from sklearn.cluster import KMeans  # here, since it takes a second to import and prediction does without

        values, counts = np.unique(pixels.image.detach().cpu().numpy().astype(np.float64), return_counts=True)
        k = len(self.centers)
        if len(values) < k:
            raise InputError(
                f"model.refit.k={k} is more than the {len(values)} distinct grey values inside the training cases' "
                "regions of interest: choose fewer clusters."
            )
        found: Any = KMeans(k, n_init=10, random_state=self.seed).fit(values[:, None], sample_weight=counts)
        self.centers.copy_(torch.from_numpy(np.sort(found.cluster_centers_[:, 0])))
        cluster = self.cluster(pixels.image.to(self.centers.device)).cpu()
        missing = (pixels.label.float() - pixels.probability).cpu().double()
        sums = torch.bincount(cluster, weights=missing, minlength=k)
        self.biases.copy_(sums / torch.bincount(cluster, minlength=k).clamp(min=1))

    def cluster(self, image: Tensor) -> Tensor:
        """Index of the nearest centre, 0 for the darkest, of every grey value; any shape."""
        return torch.bucketize(image.to(self.centers.dtype).contiguous(), (self.centers[1:] + self.centers[:-1]) / 2)

    def forward(self, heat: Tensor, image: Tensor) -> Tensor:
        """Biases of the pixels' clusters, of the image's shape."""
        return self.biases[self.cluster(image)]


def build_groups(kind: str, *, k: int = 10, seed: int = 0) -> Groups:
    """The groups that `model.refit.groups` names.

    Args:
        kind: `heatmap`, `kmeans` or `none`.
        k: clusters of `kmeans`.
        seed: of `kmeans`.

    Returns:
        The groups.

    Raises:
        InputError: on any other kind.
    """
    kinds: dict[str, Callable[[], Groups]] = {
        "heatmap": Heatmap,
        "kmeans": lambda: GreyClusters(k, seed=seed),
        "none": GlobalBias,
    }
    if kind not in kinds:
        raise InputError(f"model.refit.groups={kind} is unknown: choose one of {', '.join(kinds)}.")
    return kinds[kind]()
