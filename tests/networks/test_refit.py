import math

import pytest
import torch

from kidney_lab.networks.refit import RefitNetwork


def test_output_by_hand():
    network = RefitNetwork(hidden_channels=2, dtype=torch.float64)
    network.load_state_dict(
        {
            "hidden.weight": torch.tensor([[1.0, 2.0], [-1.0, 0.5]]),
            "hidden.bias": torch.tensor([0.1, -0.2]),
            "output.weight": torch.tensor([[3.0, -2.0]]),
            "output.bias": torch.tensor([0.25]),
            "mean": torch.tensor([0.5, 0.0]),
            "std": torch.tensor([2.0, 1.0]),
        }
    )
    inputs = torch.tensor([[0.9, 0.3]])
    x, h = (0.9 - 0.5) / 2, 0.3
    units = [1 / (1 + math.exp(-z)) for z in (x + 2 * h + 0.1, -x + 0.5 * h - 0.2)]
    assert network(inputs).tolist() == pytest.approx([3 * units[0] - 2 * units[1] + 0.25], rel=1e-7)


def test_has_21_weights_drawn_evenly_from_0_to_1_by_the_seed():
    weights = torch.cat([p.detach().flatten() for p in RefitNetwork(seed=1).parameters()])
    many = torch.cat([p.detach().flatten() for p in RefitNetwork(hidden_channels=5000).parameters()])

    assert len(weights) == 5 * 2 + 5 + 5 + 1
    assert torch.equal(weights, torch.cat([p.detach().flatten() for p in RefitNetwork(seed=1).parameters()]))
    assert not torch.equal(weights, torch.cat([p.detach().flatten() for p in RefitNetwork(seed=2).parameters()]))
    assert 0 <= many.min() < 0.01 < 0.99 < many.max() < 1
    assert many.mean().item() == pytest.approx(0.5, abs=0.01)


def test_standardises_by_the_training_inputs_and_leaves_constant_ones_at_0():
    network = RefitNetwork()
    inputs = torch.tensor([[0.0, 0.3], [1.0, 0.3], [2.0, 0.3], [3.0, 0.3]])
    network.standardize_by(inputs)
    scaled = network.standardized(inputs)

    assert network.std[0].item() == pytest.approx(math.sqrt(1.25))
    assert scaled[:, 0].tolist() == pytest.approx([x / math.sqrt(1.25) for x in (-1.5, -0.5, 0.5, 1.5)])
    assert scaled[:, 1].tolist() == [0.0] * 4


def test_anew_it_takes_inputs_as_they_are():
    network = RefitNetwork(seed=3)
    fresh = {name: value.clone() for name, value in network.state_dict().items()}
    network.standardize_by(torch.rand(10, 2))
    network.reset_parameters(3)
    assert all(torch.equal(value, fresh[name]) for name, value in network.state_dict().items())


def test_maps_keep_their_shape_and_their_precision_under_autocast():
    network = RefitNetwork()
    inputs = torch.rand(2, 1, 7, 9, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(inputs)
    assert output.shape == (2, 1, 7, 9)
    assert torch.equal(output, network(inputs))
    assert output[1, 0, 3, 4].item() == pytest.approx(network(inputs[1, 0, 3, 4]).item(), rel=1e-6)
