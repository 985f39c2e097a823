import math

import numpy as np
import pytest
import torch

from kidney_lab.errors import InputError
from kidney_lab.methods.refit_descent import descend, squared_error
from kidney_lab.networks.refit import RefitNetwork
from tests.references import ernet as literal


def pixels(n, seed=0):
    """Inputs `(n, 2)` and labels `(n,)` where both inputs are higher inside the class."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.rand(n, generator=generator, dtype=torch.float64) < 0.5
    noise = torch.rand(n, 2, generator=generator, dtype=torch.float64)
    return 0.6 * noise + 0.4 * label[:, None], label


def network(seed=0):
    return RefitNetwork(seed=seed, dtype=torch.float64)


def parameters(network):
    """W, B, w and b as the paper has them: biases are columns."""
    W, B, w, b = (parameter.detach().numpy().copy() for parameter in network.parameters())
    return W, B[:, None], w, b[:, None]


def assert_equal_to_literal(network, expected):
    for ours, theirs in zip(parameters(network), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_a_step_over_one_pixel_by_hand():
    p, h, label, rate = 0.7, 0.2, 1.0, 0.01
    moved = network()
    W, B, w, b = (parameter.tolist() for parameter in moved.parameters())
    x = [1 / (1 + math.exp(-(W[j][0] * p + W[j][1] * h + B[j]))) for j in range(5)]
    error = sum(w[0][j] * x[j] for j in range(5)) + b[0] - label
    slope = [error * w[0][j] * x[j] * (1 - x[j]) for j in range(5)]

    inputs = torch.tensor([[p, h]], dtype=torch.float64)
    losses = descend(moved, inputs, torch.ones(1), rate=rate, iterations=1, reduction="sum")

    after = [parameter.flatten().tolist() for parameter in moved.parameters()]
    assert after[0] == pytest.approx(
        [value - rate * slope[j] * x for j in range(5) for value, x in zip(W[j], (p, h), strict=True)], rel=1e-12
    )
    assert after[1] == pytest.approx([B[j] - rate * slope[j] for j in range(5)], rel=1e-12)
    assert after[2] == pytest.approx([w[0][j] - rate * error * x[j] for j in range(5)], rel=1e-12)
    assert after[3] == pytest.approx([b[0] - rate * error], rel=1e-12)
    assert losses[0].item() == pytest.approx(error**2 / 2, rel=1e-12)


def test_ten_iterations_as_printed_equal_the_literal_algorithm():
    inputs, label = pixels(40)
    moved = network()
    *expected, losses = literal.algorithm_3(*inputs.T.numpy(), label.numpy(), *parameters(moved), iterations=10)

    found = descend(moved, inputs, label, rate=0.01, iterations=10, reduction="sum")

    assert_equal_to_literal(moved, expected)
    np.testing.assert_allclose(found[:-1].numpy(), losses, rtol=1e-12)


def test_the_mean_is_the_sum_at_a_rate_divided_by_the_pixels():
    inputs, label = pixels(5000)
    moved = network()
    *expected, _ = literal.algorithm_3(
        *inputs.T.numpy(), label.numpy(), *parameters(moved), iterations=10, learning_rate=0.3 / 5000
    )
    descend(moved, inputs, label, rate=0.3, iterations=10)
    assert_equal_to_literal(moved, expected)


def test_gradients_equal_autograd():
    inputs, label = pixels(30)
    one = network()
    loss, gradients = squared_error(one, inputs.T, label.double())
    reference = (one(inputs) - label.double()).square().sum() / 2
    assert loss.item() == pytest.approx(reference.item(), rel=1e-12)
    for ours, theirs in zip(gradients, torch.autograd.grad(reference, list(one.parameters())), strict=True):
        torch.testing.assert_close(ours.view_as(theirs), theirs, rtol=1e-12, atol=1e-12)


def test_pixels_in_several_pieces_count_alike(monkeypatch):
    inputs, label = pixels(1000)
    whole, pieces = network(), network()
    descend(whole, inputs, label, iterations=5)
    monkeypatch.setattr("kidney_lab.methods.refit_descent._PIECE", 300)
    descend(pieces, inputs, label, iterations=5)
    for one, other in zip(whole.parameters(), pieces.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_standardised_inputs_are_those_that_count():
    inputs, label = pixels(100)
    given, own = network(), network()
    given.standardize_by(inputs)
    own_inputs = (inputs - inputs.mean(dim=0)) / inputs.std(dim=0, correction=0)
    descend(given, inputs, label, iterations=3)
    descend(own, own_inputs, label, iterations=3)
    for one, other in zip(given.parameters(), own.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_returns_the_loss_before_every_step_and_after_the_last():
    inputs, label = pixels(200)
    moved = network()
    losses = descend(moved, inputs, label, iterations=20)
    last = (moved(inputs) - label.double()).square().mean().item() / 2
    assert len(losses) == 21
    assert losses[-1].item() == pytest.approx(last, rel=1e-12)
    assert losses[-1] < losses[0]


def test_fits_where_gradients_are_off_and_precision_is_mixed():
    inputs, label = pixels(100)
    plain, restricted = RefitNetwork(), RefitNetwork()
    descend(plain, inputs.float(), label, iterations=3)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        descend(restricted, inputs.float(), label, iterations=3)
    assert all(torch.equal(one, other) for one, other in zip(plain.parameters(), restricted.parameters(), strict=True))


def test_as_printed_it_overflows_over_ten_thousand_pixels_and_says_what_to_choose():
    inputs, label = pixels(10_000)
    message = r"overflowed after \d+ of 1000 iterations over 10000 pixels.*choose model\.refit\.literal=false\.$"
    with pytest.raises(InputError, match=message):
        descend(network(), inputs, label, rate=0.01, reduction="sum")


def test_a_rate_that_is_too_large_is_named():
    inputs, label = pixels(4000)
    with pytest.raises(InputError, match=r"with model\.refit\.rate=3: choose a smaller rate, such as 0\.3\.$"):
        descend(network(), inputs, label, rate=3.0)
