import pytest
import torch
from torch import nn

from kidney_lab.errors import InputError
from kidney_lab.networks.u_shape import UShape


class Reach(nn.Module):
    """Passes on the largest of its input's first and last channel, in as many channels as asked for."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels

    def forward(self, x):
        assert x.shape[1] == self.in_channels
        return torch.maximum(x[:, :1], x[:, -1:]).expand(-1, self.out_channels, *x.shape[2:])


def u_shape(channels=(2, 3, 4), block=Reach, spatial_dims=2, **blocks):
    body = UShape(
        spatial_dims=spatial_dims,
        in_channels=1,
        channels=channels,
        **({"encoder": block, "bottleneck": block, "decoder": block} | blocks),
    )
    for upsampling in body.upsamplings:  # every channel repeats the first one below, 2x2
        nn.init.zeros_(upsampling.deconv.bias)
        nn.init.zeros_(upsampling.deconv.weight)
        nn.init.ones_(upsampling.deconv.weight[:1])
    return body


def test_a_pixel_reaches_its_2x2_and_4x4_cell_through_the_levels_and_itself_through_the_skip():
    image = torch.zeros(1, 1, 8, 8)
    image[0, 0, 5, 2] = 1

    fine, coarse = u_shape()(image)

    expected = torch.zeros(8, 8)
    expected[4:, :4] = 1  # max-pooling to 2x2 and back
    assert torch.equal(fine[0, 0], expected)
    assert torch.equal(coarse[0, 0], expected[::2, ::2])
    assert (fine.shape, coarse.shape) == ((1, 2, 8, 8), (1, 3, 4, 4))


def test_what_a_skip_passes_through_acts_on_the_skip_alone():
    class Nothing(nn.Module):
        def __init__(self, in_channels, out_channels):
            super().__init__()

        def forward(self, x):
            return torch.zeros_like(x)

    image = -torch.ones(1, 1, 4, 4)
    image[0, 0, 1, 1] = -0.5

    (with_skip,) = u_shape(channels=(1, 1))(image)
    (without,) = u_shape(channels=(1, 1), skip=Nothing)(image)

    assert torch.equal(with_skip[0, 0, :2, :2], torch.full((2, 2), -0.5))  # the largest of skip and what was pooled
    assert torch.equal(without, torch.zeros(1, 1, 4, 4))  # the largest of the silenced skip and negative values


def test_works_in_three_dimensions():
    features = u_shape(spatial_dims=3)(torch.randn(1, 1, 4, 8, 12))

    assert [tuple(feature.shape) for feature in features] == [(1, 2, 4, 8, 12), (1, 3, 2, 4, 6)]


@pytest.mark.parametrize("size", [(6, 8), (8, 10), (4, 4)])
def test_a_size_that_cannot_be_halved_or_ends_in_one_pixel_is_refused(size):
    sides = rf"\({size[0]}, {size[1]}\)"
    with pytest.raises(InputError, match=rf"input of {sides} pixels does not fit a network of 3 levels.*multiple of 4"):
        u_shape()(torch.zeros(1, 1, *size))


def test_one_level_is_refused():
    with pytest.raises(InputError, match=r"channels=\[8\] makes no U-shape: name two or more"):
        u_shape(channels=[8])
