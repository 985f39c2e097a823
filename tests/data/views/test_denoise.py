import cv2
import numpy as np
import pytest
from medpy.filter.smoothing import anisotropic_diffusion as medpy_diffusion

from kidney_lab.data.views.denoise import anisotropic_diffusion, bilateral_filter, check_denoise, denoised
from kidney_lab.data.views.planes import median_filter
from kidney_lab.errors import InputError


def noisy_kidney(noise=15):
    """Two slices of fat (-100 HU) with a kidney (150 HU) and a tumor in it (60 HU), and noise."""
    h, w = np.ogrid[:48, :40]
    clean = np.where((h - 20) ** 2 + (w - 20) ** 2 < 15**2, 150, -100)
    clean = np.where((h - 24) ** 2 + (w - 22) ** 2 < 5**2, 60, clean)
    rng = np.random.default_rng(0)
    return np.rint(clean + rng.normal(0, noise, (2, 48, 40))).astype(np.int16), clean


def test_the_bilateral_filter_is_opencv_s():
    planes, _ = noisy_kidney()

    given = bilateral_filter(planes, radius=2, sigma_px=1.5, sigma_hu=40)

    for plane, filtered in zip(planes, given, strict=True):
        expected = cv2.bilateralFilter(plane.astype(np.float32), d=5, sigmaColor=40, sigmaSpace=1.5)
        assert np.abs(filtered - expected).max() <= 0.51  # rounded to whole HU; OpenCV looks its weights up in a table


def test_the_diffusion_is_medpy_s():
    planes, _ = noisy_kidney()

    given = anisotropic_diffusion(planes, iterations=5, kappa_hu=40, step=0.2)

    for plane, filtered in zip(planes, given, strict=True):
        expected = medpy_diffusion(plane, niter=5, kappa=40, gamma=0.2, option=1)
        np.testing.assert_allclose(filtered, expected, atol=0.51)


def test_a_step_of_diffusion_by_hand():
    planes = np.array([[[0, 10]]], np.int16)

    flow = 0.2 * 10 * np.exp(-((10 / 40) ** 2))  # 1.88

    assert anisotropic_diffusion(planes, iterations=1).tolist() == [[[round(flow), round(10 - flow)]]]


@pytest.mark.parametrize("name", ["median", "bilateral", "anisotropic"])
def test_noise_goes_and_edges_stay(name):
    planes, clean = noisy_kidney()

    filtered = denoised(planes, name)

    assert filtered.dtype == np.int16
    inside = clean == 150
    inside[:, 1:] &= inside[:, :-1]  # away from the edge
    assert filtered[:, inside].std() < 0.75 * planes[:, inside].std()
    assert np.abs(filtered[:, 20, 6:35:28].mean() - 150) < 25  # the first and the last pixel of the kidney on a row


@pytest.mark.parametrize("name", ["bilateral", "anisotropic"])
def test_an_even_slice_stays_as_it_is_to_its_border(name):
    planes = np.full((1, 7, 1), -1000, np.int16)

    np.testing.assert_array_equal(denoised(planes, name), planes)


def test_filters_are_chosen_by_name():
    planes, _ = noisy_kidney()

    assert denoised(planes, "none") is planes
    np.testing.assert_array_equal(denoised(planes, "median"), median_filter(planes))
    for unknown in ("gauss", None, ["median"]):
        with pytest.raises(InputError) as refused:
            check_denoise(unknown)
        assert str(refused.value) == (
            f"view.denoise={unknown} is unknown: choose none, median, bilateral, anisotropic."
        )
