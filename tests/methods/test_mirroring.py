import pytest
import torch
from torch import Tensor, nn

from kidney_lab.methods.mirroring import mirrored


def weighed(image: Tensor) -> Tensor:
    """An answer that depends on where a voxel lies in the image."""
    places = torch.arange(image[0, 0].numel(), dtype=torch.float32).view(image.shape[2:])
    return image * places


def test_without_axes_the_network_is_asked_once():
    assert mirrored(weighed, ()) is weighed


@pytest.mark.parametrize(
    ("axes", "flips"),
    [([2], [(), (4,)]), ([0], [(), (2,)]), ([0, 1], [(), (2,), (3,), (2, 3)]),
     ([0, 1, 2], [(), (2,), (3,), (4,), (2, 3), (2, 4), (3, 4), (2, 3, 4)])],
)  # fmt: skip
def test_the_answers_of_all_mirror_images_are_averaged(axes, flips):
    image = torch.rand(2, 1, 3, 4, 5, generator=torch.Generator().manual_seed(0))

    said = mirrored(weighed, axes)(image)

    expected = torch.stack([torch.flip(weighed(torch.flip(image, flip)), flip) for flip in flips]).mean(dim=0)
    torch.testing.assert_close(said, expected)


def test_by_hand_two_answers_of_a_row_are_averaged():
    row = torch.tensor([[[[[1.0, 5.0]]]]])

    # 1 and 5 become 0 and 5; mirrored, 5 and 1 become 0 and 1, which mirrored back are 1 and 0
    assert mirrored(weighed, [2])(row).flatten().tolist() == [0.5, 2.5]


def test_slices_have_no_axis_across_them():
    image = torch.rand(1, 3, 4, 5)

    assert torch.equal(mirrored(weighed, [0])(image), weighed(image))
    assert torch.equal(mirrored(weighed, [0, 2])(image), mirrored(weighed, [2])(image))


def test_a_network_of_single_voxels_says_the_same_of_every_mirror_image():
    network, image = nn.Conv3d(1, 2, 1), torch.rand(1, 1, 3, 4, 5)

    torch.testing.assert_close(mirrored(network, [0, 1, 2])(image), network(image))
