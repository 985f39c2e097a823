from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from kidney_lab.errors import InputError
from kidney_lab.reporting.figures import draw_case, informative_slices, save_case_panel

SPACING_MM = (3.0, 0.8, 0.8)


def labels() -> np.ndarray:
    volume = np.zeros((9, 40, 60), dtype=np.uint8)
    volume[1:8, 10:25, 10:25] = 1
    volume[3:6, 12:16, 12:16] = 2
    volume[5, 11:17, 11:17] = 2  # largest tumor
    return volume


def test_slices_are_the_largest_tumor_the_worst_one_and_the_middle():
    prediction = labels()
    prediction[2] = 0
    assert informative_slices(labels(), prediction) == [
        ("Largest tumor", 5),
        ("Most disagreement", 2),
        ("Middle of the kidneys", 4),
    ]


def test_without_a_tumor_in_the_reference_a_predicted_one_is_shown():
    healthy = np.minimum(labels(), 1)
    assert informative_slices(healthy, labels())[0] == ("Largest predicted tumor (none in reference)", 5)
    assert informative_slices(healthy, healthy)[0][0] == "Largest labelled area"


@pytest.mark.parametrize("prediction", [labels(), labels() * 0])
@pytest.mark.parametrize("reference", [labels(), labels() * 0])
def test_any_case_can_be_drawn(reference, prediction):
    figure = draw_case(np.zeros(reference.shape, np.int16), reference, prediction, SPACING_MM)
    assert len(figure.axes) == 3
    assert {axes.get_aspect() for axes in figure.axes} == {1.0}


def test_rows_higher_than_columns_are_wide_are_drawn_in_proportion():
    figure = draw_case(np.zeros(labels().shape, np.int16), labels(), labels(), (3.0, 1.6, 0.8))
    assert figure.axes[0].get_aspect() == 2.0


def test_panel_is_a_picture_named_after_the_case(tmp_path: Path):
    path = tmp_path / "figures" / "case_00001.png"
    image = np.full(labels().shape, 40, np.int16)
    save_case_panel(path, image=image, reference=labels(), prediction=labels(), spacing_mm=SPACING_MM)
    assert matplotlib.image.imread(path).shape[1] == 1200
    assert [file.name for file in path.parent.iterdir()] == ["case_00001.png"]


def test_shapes_that_differ_are_refused():
    with pytest.raises(InputError, match="resample the labels"):
        draw_case(np.zeros((2, 2, 2)), labels(), labels(), SPACING_MM)
    with pytest.raises(InputError, match="must be the same"):
        draw_case(np.zeros(labels().shape), labels(), labels()[1:], SPACING_MM)
