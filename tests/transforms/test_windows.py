import pytest
import torch
from monai.transforms import ScaleIntensityRange

from kidney_lab.errors import InputError
from kidney_lab.transforms.windows import ScaleWindows

HU = [-1000.0, -150.0, 0.0, 50.0, 250.0, 3000.0]


def test_one_window_is_monai_s_for_every_channel():
    image = torch.tensor(HU).repeat(3, 2, 1)

    given = ScaleWindows([[-150, 250]])(image)

    expected = ScaleIntensityRange(a_min=-150, a_max=250, b_min=0, b_max=1, clip=True)(image)
    torch.testing.assert_close(given, torch.as_tensor(expected))
    assert given[0, 0].tolist() == [0, 0, 0.375, 0.5, 1, 1]


def test_every_channel_has_its_window_and_these_come_again():
    image = torch.tensor(HU, dtype=torch.float64).repeat(4, 1)

    given = ScaleWindows([[-150, 250], [-20, 180]])(image)

    assert given.dtype == torch.float32
    assert given[0].tolist() == given[2].tolist() == [0, 0, 0.375, 0.5, 1, 1]
    assert given[1].tolist() == given[3].tolist() == pytest.approx([0, 0, 0.1, 0.35, 1, 1])


def test_channels_that_are_no_multiple_of_the_windows_are_refused():
    with pytest.raises(InputError, match=r"names 2 windows, and an image has 3 channels: give one window, or one for"):
        ScaleWindows([[-150, 250], [-20, 180]])(torch.zeros(3, 4, 4))


@pytest.mark.parametrize("windows", [[], [[250, -150]], [-150, 250], [[0, 1, 2]], [["a", "b"]], None, 5])
def test_what_is_no_window_is_refused(windows):
    with pytest.raises(InputError, match=r"are no windows: give one or more rising pairs of HU"):
        ScaleWindows(windows)
