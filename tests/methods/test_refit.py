import logging

import pytest
import torch

from kidney_lab.errors import InputError
from kidney_lab.methods.refit import SoftmaxRefit
from kidney_lab.methods.refit_descent import descend
from kidney_lab.methods.refit_pixels import RoiPixels
from kidney_lab.networks.refit import RefitNetwork

RADIUS = 23


def blurry_disc(seed):
    """Probability, heat, image and label `(64, 64)` of a disc.

    On the right its border is blurry: the probability falls off 5 pixels too early. The heat is spread evenly about the
    border, and the image is brighter inside.
    """
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(*[torch.arange(64) - 31.5] * 2, indexing="ij")
    inside = RADIUS - (x**2 + y**2).sqrt()
    noise = torch.randn(3, 64, 64, generator=generator)
    probability = ((inside - 5 * (x > 0)) / 2 + 0.8 * noise[0]).sigmoid()
    heat = (0.9 * (inside / 3).sigmoid() + 0.05 * noise[1]).clamp(0, 1)
    return probability, heat, (40 * (inside > 0) + 20 * noise[2]).round(), inside > 0


def pixels(maps):
    return RoiPixels(*(map_.flatten() for map_ in maps))


def dice(prediction, reference):
    return (2 * (prediction & reference).sum() / (prediction.sum() + reference.sum())).item()


TRAIN, TEST = blurry_disc(0), blurry_disc(1)


def fitted(**settings):
    refit = SoftmaxRefit("kidney", **settings)
    refit.fit(pixels(TRAIN))
    return refit


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_heat_that_tells_the_border_beats_the_plain_threshold(seed):
    *maps, label = TEST
    assert dice(maps[0] > 0.5, label) == pytest.approx(0.863, abs=0.005)
    assert dice(fitted(seed=seed)(*maps) > 0.5, label) > 0.96


def test_a_mean_at_the_printed_rate_of_inputs_as_they_are_does_not_get_there():
    probability, heat, _, label = pixels(TRAIN)
    network = RefitNetwork()
    losses = descend(network, torch.stack([probability, heat], dim=1), label, rate=0.01)
    assert losses[-1] > 5 * SoftmaxRefit("kidney").fit(pixels(TRAIN))[-1]
    assert dice(network(torch.stack(TEST[:2], dim=-1)) > 0.5, TEST[3]) < 0.9


def test_as_printed_it_overflows_with_the_name_of_the_knob():
    refit = SoftmaxRefit("kidney", literal=True)
    assert refit.rate == 0.01
    assert refit.network.mean.dtype == torch.float64
    with pytest.raises(
        InputError, match=r"over 4096 pixels, since model\.refit\.literal=true .* choose model\.refit\.literal=false\.$"
    ):
        refit.fit(pixels(TRAIN))
    assert torch.equal(refit(*TEST[:3]), TEST[0])


def test_as_printed_over_few_pixels_it_takes_inputs_as_they_are():
    refit = SoftmaxRefit("kidney", literal=True)
    few = RoiPixels(*(column[1000:3000:50] for column in pixels(TRAIN)))
    losses = refit.fit(few)
    assert losses[-1] < losses[0]
    assert refit.network.mean.tolist() == [0, 0]
    assert refit.network.std.tolist() == [1, 1]
    assert refit(*TEST[:3]).dtype == torch.float32


@pytest.mark.parametrize("groups", ["none", "heatmap"])
def test_with_constant_heat_it_is_a_monotone_recalibration(groups):
    probability, _, image, label = pixels(TRAIN)
    heat = torch.full_like(probability, 0.3)
    refit = SoftmaxRefit("kidney", groups=groups)
    refit.fit(RoiPixels(probability, heat, image, label))
    p = torch.linspace(0, 1, 1001)
    output = refit(p, torch.full_like(p, 0.3), torch.zeros_like(p))
    assert (output.diff() >= 0).all()
    assert output[0] < 0.2 < 0.8 < output[-1]
    threshold = p[output > 0.5].min()
    assert 0 < threshold < 0.5  # the probability is too low on the right: the disc's mask grows
    p = TEST[0][(TEST[0] - threshold).abs() > 0.001]
    assert torch.equal(refit(p, torch.full_like(p, 0.3), p) > 0.5, p > threshold)


def test_one_cluster_is_none_and_clusters_use_the_grey_values():
    *maps, label = TEST
    none, one, ten = (
        fitted(**settings)(*maps)
        for settings in ({"groups": "none"}, {"groups": "kmeans", "k": 1}, {"groups": "kmeans"})
    )
    assert torch.equal(none, one)
    assert dice(ten > 0.5, label) > dice(none > 0.5, label) > dice(maps[0] > 0.5, label)


def test_the_output_stays_between_0_and_1_and_keeps_shape_and_type():
    refit = fitted()
    maps = [map_.expand(2, 1, 64, 64) for map_ in TEST[:3]]
    output = refit(*maps)
    assert output.shape == (2, 1, 64, 64)
    assert output.min() == 0
    assert output.max() == 1
    assert refit(*(map_.half() for map_ in maps)).dtype == torch.float16


def test_until_it_is_fitted_probabilities_stay():
    assert SoftmaxRefit("kidney")(*TEST[:3]) is TEST[0]


def test_a_class_that_no_pixel_is_of_stays_and_a_warning_says_so(caplog):
    refit = fitted()
    nothing = RoiPixels(*(column[:10] for column in pixels(TRAIN)))
    with caplog.at_level(logging.WARNING):
        losses = refit.fit(nothing)
    assert len(losses) == 0
    assert "of kidney hold no pixels both inside and outside of it" in caplog.text
    assert refit(*TEST[:3]) is TEST[0]


def test_fitting_again_starts_anew():
    once, twice = fitted(), fitted()
    twice.fit(pixels(TRAIN))
    assert torch.equal(once(*TEST[:3]), twice(*TEST[:3]))


@pytest.mark.parametrize("groups", ["heatmap", "kmeans", "none"])
def test_a_checkpoint_holds_all_of_it(groups, tmp_path):
    settings = {"groups": groups, "iterations": 20}
    refit = fitted(**settings)
    torch.save(refit.state_dict(), tmp_path / "refit.ckpt")
    other = SoftmaxRefit("kidney", seed=5, **settings)
    other.load_state_dict(torch.load(tmp_path / "refit.ckpt", weights_only=True))
    assert torch.equal(other(*TEST[:3]), refit(*TEST[:3]))
    assert not torch.equal(other(*TEST[:3]), TEST[0])


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "abc", True])
def test_a_rate_that_is_no_number_over_0_is_refused(value):
    with pytest.raises(InputError, match=r"model\.refit\.rate=.* is out of range: give a number over 0, such as 0\.3"):
        SoftmaxRefit("kidney", rate=value)


@pytest.mark.parametrize("value", [0, 1.5, "abc", None])
@pytest.mark.parametrize("name", ["iterations", "hidden_channels"])
def test_counts_that_are_no_whole_numbers_are_refused(name, value):
    with pytest.raises(
        InputError, match=rf"model\.refit\.{name}={value} is no count: give a whole number of at least 1"
    ):
        SoftmaxRefit("kidney", **{name: value})
