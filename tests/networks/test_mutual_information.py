import math

import pytest
import torch
from torch import Tensor

from kidney_lab.networks.mutual_information import (
    ESTIMATORS,
    gaussian_mutual_information,
    histogram_mutual_information,
)

KNOWN = [(0.0, 0.0), (0.5, 0.14384), (-0.5, 0.14384), (0.8, 0.51083)]
"""Correlation of two normal variables and their mutual information in nats."""


def bivariate_normal(correlation: float, n: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Samples `(1, n)` of two standard normal variables."""
    first, other = torch.randn(2, 1, n, generator=torch.Generator().manual_seed(seed))
    return first, correlation * first + math.sqrt(1 - correlation**2) * other


@pytest.mark.parametrize(("correlation", "nats"), KNOWN)
def test_the_gaussian_estimate_is_the_closed_form(correlation: float, nats: float) -> None:
    # Two signals of zero mean, unit variance and no correlation, in exact numbers.
    first = torch.tensor([[1.0, 1.0, -1.0, -1.0]])
    other = torch.tensor([[1.0, -1.0, 1.0, -1.0]])
    second = correlation * first + math.sqrt(1 - correlation**2) * other
    assert gaussian_mutual_information(first, second).item() == pytest.approx(nats, abs=1e-5)


@pytest.mark.parametrize(("correlation", "nats"), KNOWN)
def test_the_gaussian_estimate_of_samples_is_near(correlation: float, nats: float) -> None:
    value = gaussian_mutual_information(*bivariate_normal(correlation, 200_000)).item()
    assert value == pytest.approx(nats, rel=0.03, abs=1e-4)


@pytest.mark.parametrize(("correlation", "nats"), KNOWN)
def test_the_histogram_estimate_of_samples_is_near(correlation: float, nats: float) -> None:
    value = histogram_mutual_information(*bivariate_normal(correlation, 16**3)).item()
    assert value == pytest.approx(nats, abs=0.06)


def test_only_the_histogram_sees_dependence_that_is_not_linear() -> None:
    first = torch.linspace(-1, 1, 1001)[None]
    assert gaussian_mutual_information(first, first.square()).item() == pytest.approx(0, abs=1e-6)
    assert histogram_mutual_information(first, first.square()).item() > 1


@pytest.mark.parametrize("estimate", ESTIMATORS.values(), ids=ESTIMATORS)
def test_scale_and_offset_do_not_matter(estimate) -> None:
    first, second = bivariate_normal(0.8, 2000)
    torch.testing.assert_close(
        estimate(1e-3 * first + 0.1, 50 * second - 7), estimate(first, second), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("estimate", ESTIMATORS.values(), ids=ESTIMATORS)
def test_identical_signals_tell_the_most_and_stay_finite(estimate) -> None:
    first, second = bivariate_normal(0.95, 2000)
    identical = estimate(first, first)
    assert torch.isfinite(identical).all()
    assert identical.item() > estimate(first, second).item() + 0.3


def test_identical_signals_reach_the_bound_of_the_gaussian_estimate() -> None:
    first, _ = bivariate_normal(0, 2000)
    assert gaussian_mutual_information(first, first).item() == pytest.approx(-0.5 * math.log(1e-4), rel=1e-3)


@pytest.mark.parametrize("estimate", ESTIMATORS.values(), ids=ESTIMATORS)
@pytest.mark.parametrize("second", [torch.full((1, 64), 3.0), torch.randn(1, 64)], ids=["constant", "varying"])
def test_a_constant_signal_tells_nothing_and_has_a_finite_gradient(estimate, second: Tensor) -> None:
    constant = torch.full((1, 64), 2.0, requires_grad=True)
    value = estimate(constant, second)
    value.sum().backward()
    assert value.item() == pytest.approx(0, abs=1e-5)
    assert torch.isfinite(constant.grad).all()


@pytest.mark.parametrize("estimate", ESTIMATORS.values(), ids=ESTIMATORS)
@pytest.mark.parametrize("size", [0.0, 1e-38, 1e-20, 1e20])
def test_gradients_are_finite_for_signals_of_any_size(estimate, size: float) -> None:
    first = (size * torch.randn(1, 64, generator=torch.Generator().manual_seed(1))).requires_grad_()
    second = torch.randn(1, 64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    value = estimate(first, second)
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(second.grad).all()
    assert size == 1e-38 or torch.isfinite(first.grad).all()  # whose gradients no float32 can hold


@pytest.mark.parametrize("estimate", ESTIMATORS.values(), ids=ESTIMATORS)
def test_samples_of_a_batch_are_estimated_apart(estimate) -> None:
    pairs = [bivariate_normal(correlation, 500, seed=seed) for seed, correlation in enumerate((0.0, 0.5, 0.9))]
    together = estimate(torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs]))
    torch.testing.assert_close(together, torch.cat([estimate(a, b) for a, b in pairs]))


def test_the_gradient_of_the_gaussian_estimate_is_right() -> None:
    first, second = bivariate_normal(0.5, 12)
    first.requires_grad_()
    (gradient,) = torch.autograd.grad(gaussian_mutual_information(first, second).sum(), first)
    step = 1e-2
    for index in range(0, 12, 5):
        moved = torch.zeros_like(first)
        moved[0, index] = step
        with torch.no_grad():
            ahead = gaussian_mutual_information(first + moved, second)
            behind = gaussian_mutual_information(first - moved, second)
        assert gradient[0, index].item() == pytest.approx(((ahead - behind) / (2 * step)).item(), rel=0.02, abs=1e-4)


@pytest.mark.parametrize("estimate", ESTIMATORS.values(), ids=ESTIMATORS)
def test_shapes_alone_are_enough_to_count_operations(estimate) -> None:
    assert estimate(*torch.empty(2, 3, 64, device="meta")).shape == (3,)


@pytest.mark.parametrize("estimate", ESTIMATORS.values(), ids=ESTIMATORS)
def test_half_precision_is_computed_in_full(estimate) -> None:
    first, second = (signal.bfloat16() for signal in bivariate_normal(0.8, 500))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = estimate(first, second)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, estimate(first.float(), second.float()))
