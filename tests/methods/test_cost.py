import pytest
import torch
from torch import nn

from kidney_lab.methods.cost import count_flops, count_parameters


@pytest.mark.parametrize("kernel", [1, 3])
def test_a_convolution_costs_two_operations_per_weight_and_voxel(kernel):
    network = nn.Conv3d(2, 5, kernel, padding=kernel // 2, bias=False)

    assert count_flops(network, (3, 2, 4, 6, 8)) == 2 * kernel**3 * 2 * 5 * (3 * 4 * 6 * 8)


def test_stride_counts_the_voxels_that_come_out():
    assert count_flops(nn.Conv3d(1, 1, 2, stride=2), (1, 1, 4, 6, 8)) == 2 * 2**3 * (2 * 3 * 4)


def test_convolutions_add_up():
    network = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.InstanceNorm3d(4), nn.ReLU(), nn.Conv3d(4, 2, 1))

    assert count_flops(network, (1, 1, 8, 8, 8)) == 2 * 512 * (27 * 4 + 4 * 2)


def test_counting_leaves_the_network_as_it_was():
    network = nn.Sequential(nn.Conv3d(1, 2, 3), nn.BatchNorm3d(2)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}

    count_flops(network, (1, 1, 8, 8, 8))

    assert network.training
    for name, value in network.state_dict().items():
        assert value.device.type == "cpu"
        assert torch.equal(value, before[name])


def test_a_volume_that_would_not_fit_into_memory_is_counted_all_the_same():
    side = 10_000  # 4 TB of input

    assert count_flops(nn.Conv3d(1, 1, 1), (1, 1, side, side, side)) == 2 * side**3


def test_parameters_are_weights_and_biases():
    assert count_parameters(nn.Sequential(nn.Conv3d(2, 5, 3), nn.Linear(4, 3))) == (2 * 5 * 27 + 5) + (4 * 3 + 3)
