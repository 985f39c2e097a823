import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from kidney_lab.errors import InputError
from kidney_lab.methods.refit_groups import GreyClusters, build_groups
from kidney_lab.methods.refit_pixels import RoiPixels


def rois(image, probability, label):
    return RoiPixels(probability, torch.zeros_like(probability), image, label)


def two_greys():
    """Dark pixels, of which 1 in 4 is of the class, and bright ones, all of it; all have p = 0.6."""
    image = torch.tensor([-20.0, -20, -20, -20, 80, 80])
    return rois(image, torch.full((6,), 0.6), torch.tensor([False, False, False, True, True, True]))


def test_heatmap_gives_the_heat_and_none_gives_0():
    heat, image = torch.rand(2, 3), torch.rand(2, 3)
    assert build_groups("heatmap")(heat, image) is heat
    assert torch.equal(build_groups("none")(heat, image), torch.zeros(2, 3))


def test_two_grey_values_learn_a_bias_each():
    groups = build_groups("kmeans", k=2)
    groups.fit(two_greys())
    assert groups.centers.tolist() == [-20, 80]
    assert groups.biases.tolist() == pytest.approx([1 / 4 - 0.6, 1 - 0.6])
    maps = torch.tensor([[[-100.0, 29.0], [31.0, 300.0]]])  # the border is in the middle, at 30
    assert groups(torch.zeros(1, 2, 2), maps).flatten().tolist() == pytest.approx([-0.35, -0.35, 0.4, 0.4])


def test_a_single_cluster_biases_all_alike():
    groups = build_groups("kmeans", k=1)
    groups.fit(two_greys())
    assert groups(torch.zeros(3), torch.tensor([-1000.0, 0.0, 1000.0])).tolist() == pytest.approx([0.5 - 0.6] * 3)


def test_distinct_values_with_counts_cluster_as_all_pixels_do():
    values = np.random.default_rng(0).choice(
        [-100, -40, 0, 30, 35, 90, 200], size=4000, p=[0.1, 0.2, 0.1, 0.1, 0.2, 0.2, 0.1]
    )
    image = torch.from_numpy(values).float()
    groups = GreyClusters(3)
    groups.fit(rois(image, torch.rand(4000), torch.rand(4000) < 0.5))
    every = KMeans(3, n_init=10, random_state=1).fit(values[:, None])
    assert groups.centers.tolist() == pytest.approx(np.sort(every.cluster_centers_[:, 0]).tolist(), rel=1e-4)
    nearest = np.abs(values[:, None] - groups.centers.numpy()).argmin(axis=1)
    assert groups.cluster(image).tolist() == nearest.tolist()


def test_the_same_pixels_give_the_same_clusters():
    image, probability = torch.randn(2000).mul(50).round(), torch.rand(2000)
    one, other = GreyClusters(10), GreyClusters(10)
    for groups in (one, other):
        groups.fit(rois(image, probability, probability > 0.4))
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def test_what_cannot_be_is_refused():
    with pytest.raises(
        InputError, match=r"model\.refit\.groups=grey is unknown: choose one of heatmap, kmeans, none\."
    ):
        build_groups("grey")
    with pytest.raises(InputError, match=r"model\.refit\.k=0 is no number of clusters: give 1 or more"):
        build_groups("kmeans", k=0)
    with pytest.raises(InputError, match=r"model\.refit\.k=3 is more than the 2 distinct grey values .* choose fewer"):
        build_groups("kmeans", k=3).fit(two_greys())
