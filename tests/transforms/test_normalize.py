import numpy as np
import pytest
import torch
from monai.transforms import Compose, ScaleIntensityRange

from kidney_lab.data.statistics import IntensityStatistics
from kidney_lab.data.store import Cost, Store
from kidney_lab.data.store_writer import CaseRecord, create_store, write_case
from kidney_lab.errors import InputError
from kidney_lab.geometry import grid_from_spacing
from kidney_lab.transforms.normalize import NormalizeForeground, RoundIntensity, foreground_normalizer, grey_step
from kidney_lab.transforms.windows import ScaleWindows

SHAPE = (8, 20, 20)


@pytest.fixture
def store(tmp_path) -> Store:
    create_store(tmp_path, {})
    rng = np.random.default_rng(0)
    grid = grid_from_spacing(SHAPE, (1.0, 1.0, 1.0))
    record = CaseRecord(
        image=rng.normal(100, 80, SHAPE).astype(np.int16),
        label=rng.integers(0, 3, SHAPE).astype(np.uint8),
        grid=grid,
        source=grid,
        crop=tuple(slice(0, n) for n in SHAPE),
        sources={},
        seed=0,
    )
    write_case(tmp_path, "case_00000", record, lambda: Cost(0.0, 0.0))
    return Store(tmp_path)


def test_an_image_is_clipped_shifted_and_divided():
    normalize = NormalizeForeground(window=(-150, 250))
    normalize.statistics = IntensityStatistics(lower=-150, upper=250, mean=50, std=80, n=10)

    image = torch.tensor([-1000, -150, 50, 130, 250, 3000], dtype=torch.int16)

    assert normalize(image).tolist() == [-2.5, -2.5, 0.0, 1.0, 2.5, 2.5]
    assert normalize(image).dtype == torch.float32


@pytest.mark.parametrize("clip", [{"window": (-150, 250)}, {"percentiles": (0, 100)}])
def test_the_foreground_has_mean_0_and_deviation_1(store, clip):
    normalize = NormalizeForeground(**clip)
    normalize.fit(store, ["case_00000"])
    case = store["case_00000"]

    seen = normalize(torch.from_numpy(case.image[...])).numpy()[case.label[...] > 0].astype(np.float64)

    assert seen.mean() == pytest.approx(0, abs=1e-6)
    assert seen.std() == pytest.approx(1, abs=1e-6)


def test_it_equals_nnunet_s_scheme(store):
    normalize = NormalizeForeground(percentiles=(0.5, 99.5))
    normalize.fit(store, ["case_00000"])
    image, label = store["case_00000"].image[...].astype(np.float32), store["case_00000"].label[...]

    # nnU-Net v2's CTNormalization: percentiles, mean and deviation of the foreground, none of it clipped.
    foreground = image[label > 0]
    low, high = np.percentile(foreground, (0.5, 99.5))
    expected = (np.clip(image, low, high) - foreground.mean()) / foreground.std()

    np.testing.assert_allclose(normalize(torch.from_numpy(image)), expected, atol=1e-5)


def test_it_is_of_no_use_without_statistics():
    with pytest.raises(RuntimeError, match="no statistics yet"):
        NormalizeForeground(window=(-150, 250))(torch.zeros(1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "either percentiles or window"),
        ({"percentiles": (0.5, 99.5), "window": (0, 1)}, "either percentiles or window"),
        ({"window": (250, -150)}, r"intensity\.window=\[250, -150\] is no rising pair"),
        ({"percentiles": (1, 2, 3)}, r"intensity\.percentiles=\[1, 2, 3\] is no rising pair"),
        ({"percentiles": (-1, 99)}, "must lie between 0 and 100"),
        ({"percentiles": (1, 101)}, "must lie between 0 and 100"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        NormalizeForeground(**settings)


def test_the_part_that_needs_statistics_is_found_in_a_chain():
    part = NormalizeForeground(window=(0, 1))
    other = ScaleIntensityRange(a_min=0, a_max=1, b_min=0, b_max=1)

    assert foreground_normalizer(part) is part
    assert foreground_normalizer(Compose([other, Compose([part, RoundIntensity()])])) is part
    assert foreground_normalizer(other) is None
    assert foreground_normalizer(Compose([other])) is None


def test_grey_levels_are_those_of_the_range_that_a_transform_gives():
    assert grey_step(ScaleIntensityRange(a_min=0, a_max=1, b_min=-1, b_max=1)) == 2 / 255
    assert grey_step(ScaleWindows([[-150, 250]])) == 1 / 255
    assert grey_step(NormalizeForeground(window=(0, 1))) == 1.0


def test_rounding_gives_whole_values():
    assert RoundIntensity()(torch.tensor([0.4, 127.5, 254.7])).tolist() == [0.0, 128.0, 255.0]
    assert RoundIntensity(0.25)(torch.tensor([0.1, 0.2, 0.9])).tolist() == [0.0, 0.25, 1.0]
