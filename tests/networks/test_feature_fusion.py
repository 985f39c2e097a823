import pytest
import torch
from torch.nn import functional as F

from kidney_lab.errors import InputError
from kidney_lab.networks.feature_fusion import NORMALIZATIONS, FeatureFusion

LEVELS = (4, 8, 16)
SIZES = ((8, 8, 16), (4, 4, 8), (2, 2, 4))


def features(seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, n, *size, generator=generator) for n, size in zip(LEVELS, SIZES, strict=True)]


def literal_fusion(fusion: FeatureFusion, levels: list[torch.Tensor], decoded: torch.Tensor) -> torch.Tensor:
    """Section 3.2 step by step: reduce, interpolate, weight, concatenate, 1x1x1 convolution."""
    reduced = [reduce(level) for reduce, level in zip(fusion.reduce, levels, strict=True)]
    size = decoded.shape[2:]
    resized = [F.interpolate(level, size=size, mode="trilinear", align_corners=False) for level in reduced]
    grid = [min(n, 16) for n in size]
    signals = [F.adaptive_avg_pool3d(level.mean(1, keepdim=True), grid).flatten(1) for level in (*resized, decoded)]
    *others, own = ((signal - signal.mean(1, keepdim=True)) / signal.std(1, keepdim=True) for signal in signals)
    correlation = torch.stack([(other * own).sum(1) / (own.shape[1] - 1) for other in others], dim=1)
    information = -0.5 * torch.log(1 - correlation**2)
    weights = information.softmax(1) * len(levels)
    weighted = [weights[:, i].view(-1, 1, 1, 1, 1) * level for i, level in enumerate(resized)]
    return fusion.merge(torch.cat(weighted, dim=1))


@pytest.mark.parametrize("stage", range(3))
def test_it_equals_the_paper_step_by_step(stage: int) -> None:
    fusion = FeatureFusion(LEVELS, LEVELS[stage])
    decoded = torch.randn(2, LEVELS[stage], *SIZES[stage]) + features()[stage].mean(1, keepdim=True)
    torch.testing.assert_close(
        fusion(features(), decoded), literal_fusion(fusion, features(), decoded), rtol=1e-4, atol=1e-5
    )


def test_axes_longer_than_sixteen_voxels_are_pooled() -> None:
    fusion = FeatureFusion((2, 2), 2)
    levels = [torch.randn(1, 2, 20, 8, 40), torch.randn(1, 2, 10, 4, 20)]
    decoded = torch.randn(1, 2, 20, 8, 40)
    torch.testing.assert_close(fusion(levels, decoded), literal_fusion(fusion, levels, decoded), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mi", ["gaussian", "histogram"])
@pytest.mark.parametrize("mi_normalize", ["softmax", "sum"])
def test_normalised_weights_have_the_mean_one_in_every_sample(mi: str, mi_normalize: str) -> None:
    fusion = FeatureFusion(LEVELS, 4, mi=mi, mi_normalize=mi_normalize)
    weights = fusion.weights(features(), features(seed=1)[0])
    torch.testing.assert_close(weights.sum(1), torch.full((2,), 3.0))


@pytest.mark.parametrize(
    ("mi_normalize", "weights"),
    # exp(0), exp(ln 2), exp(ln 3): shares 1/6, 2/6, 3/6
    [("softmax", [0.5, 1.0, 1.5]), ("sum", [0.0, 1.16054, 1.83946]), ("none", [0.0, 0.693147, 1.098612])],
)
def test_weights_by_hand(mi_normalize: str, weights: list[float]) -> None:
    information = torch.tensor([[1.0, 2.0, 3.0]]).log()
    torch.testing.assert_close(NORMALIZATIONS[mi_normalize](information), torch.tensor([weights]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mi_normalize", ["softmax", "sum"])
@pytest.mark.parametrize("nats", [0.0, 0.7])
def test_levels_that_tell_the_same_are_not_weighted(mi_normalize: str, nats: float) -> None:
    torch.testing.assert_close(NORMALIZATIONS[mi_normalize](torch.full((2, 4), nats)), torch.ones(2, 4))


def test_the_level_that_is_like_the_decoder_weighs_most() -> None:
    decoded = features()[1].mean(1, keepdim=True)
    assert FeatureFusion(LEVELS, 4).weights(features(), decoded).argmax(1).tolist() == [1, 1]


@pytest.mark.parametrize(("mi_detach", "flows"), [(True, False), (False, True)])
@pytest.mark.parametrize("mi", ["gaussian", "histogram"])
def test_gradients_flow_through_the_weights_only_where_wanted(mi_detach: bool, flows: bool, mi: str) -> None:
    fusion = FeatureFusion(LEVELS, 4, mi=mi, mi_detach=mi_detach)
    decoded = torch.randn(2, 4, *SIZES[0], requires_grad=True)
    fused = fusion(features(), decoded)
    # The decoder's features reach the result by the weights alone.
    (gradient,) = torch.autograd.grad(fused.sum(), decoded, allow_unused=True)
    assert (gradient is not None and gradient.abs().max() > 0) == flows


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(InputError, match=r"model.mi=kraskov is unknown: choose one of gaussian, histogram\."):
        FeatureFusion(LEVELS, 4, mi="kraskov")
    with pytest.raises(InputError, match=r"model.mi_normalize=mean is unknown: choose one of softmax, sum, none\."):
        FeatureFusion(LEVELS, 4, mi_normalize="mean")
