import pytest
import torch

from kidney_lab.errors import InputError
from kidney_lab.transforms import RandSaltAndPepperd


def noisy(image, **arguments):
    transform = RandSaltAndPepperd("image", prob=1.0, **arguments)
    transform.set_random_state(0)
    return transform({"image": image})["image"]


def test_the_share_of_voxels_is_the_amount_half_of_them_white():
    image = torch.full((1, 200, 200), 0.5)

    result = noisy(image, amount=0.1, pepper=0.0, salt=1.0)

    white, black = (result == 1).float().mean(), (result == 0).float().mean()
    # 4000 voxels drawn with replacement: 1 - exp(-0.1) = 0.0952 of all differ, within 5 standard deviations
    assert white + black == pytest.approx(0.0952, abs=0.008)
    assert white == pytest.approx(0.0476, abs=0.006)
    assert torch.equal(result[(result > 0) & (result < 1)].unique(), torch.tensor([0.5]))
    assert torch.all(image == 0.5)


def test_white_and_black_are_the_image_s_own_where_not_given():
    image = torch.linspace(-3, 7, 10_000).reshape(1, 100, 100)

    result = noisy(image, amount=0.5, salt_vs_pepper=1.0)
    dark = noisy(image, amount=0.5, salt_vs_pepper=0.0)

    assert (result == 7).float().mean() > 0.3
    assert (dark == -3).float().mean() > 0.3
    assert torch.all((result == 7) | (result == image))


def test_works_on_volumes_and_on_every_channel():
    result = noisy(torch.full((2, 20, 20, 20), 0.5), amount=0.2, pepper=0.0, salt=1.0)

    changed = (result != 0.5).flatten(1)
    assert torch.all(changed.float().mean(1) > 0.1)
    assert not torch.equal(changed[0], changed[1])


def test_a_seed_repeats_it_and_probability_0_leaves_the_sample():
    image = torch.rand(1, 50, 50)
    transform = RandSaltAndPepperd("image", prob=0.0, amount=0.5)

    assert torch.equal(noisy(image, amount=0.1), noisy(image, amount=0.1))
    assert transform({"image": image, "label": 3})["image"] is image


@pytest.mark.parametrize("arguments", [{"prob": 1.1}, {"amount": -0.1}, {"salt_vs_pepper": 2}])
def test_a_share_outside_0_to_1_is_refused(arguments):
    with pytest.raises(InputError, match=f"{next(iter(arguments))}=.* is no share: write a number from 0 to 1"):
        RandSaltAndPepperd("image", **arguments)
