import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import to_hex

from kidney_lab.errors import InputError
from kidney_lab.export.overlay import choose_planes, draw_overlay, save_overlay
from kidney_lab.geometry import Volume, grid_from_spacing, reorient
from kidney_lab.reporting.figures import COLORS

SPACING = (5.0, 1.5, 1.0)
SHAPE = (12, 60, 100)


def scan() -> np.ndarray:
    """A body that fills the field, with a bright spot at the patient's right front."""
    image = np.full(SHAPE, 40, np.int16)
    image[:, :10, :10] = 250
    return image


def labels(*, tumor=True) -> np.ndarray:
    volume = np.zeros(SHAPE, np.uint8)
    volume[2:10, 20:40, 10:30] = 1
    volume[2:10, 20:40, 70:90] = 1
    volume[4, 20:40, 5:30] = 1  # most kidney
    if tumor:
        volume[6:9, 24:30, 72:80] = 2
        volume[7, 24:32, 72:84] = 2  # most tumor
        volume[7, 26, 90:95] = 3
    return volume


def test_slices_are_those_with_most_tumor_and_most_kidney_and_a_coronal_one():
    tumor, kidney, coronal = choose_planes(scan(), labels(), SPACING)
    assert (tumor.title, kidney.title) == (
        "Most tumor, slice 8 of 12 from above",
        "Most kidney, slice 5 of 12 from above",
    )
    assert coronal.title == "Coronal, most tumor"
    assert (tumor.labels == 2).sum() == 8 * 12
    assert coronal.image.shape == (12, 100)
    assert (coronal.labels == 2).sum() == 8 + 8 + 12  # row 24..29 holds most: 8 in two slices, 12 in one


def test_without_a_tumor_the_kidneys_are_shown_and_without_them_the_middle():
    titles = [plane.title for plane in choose_planes(scan(), labels(tumor=False), SPACING)]
    assert titles == ["Most kidney, slice 5 of 12 from above", "Coronal, most kidney"]
    titles = [plane.title for plane in choose_planes(scan(), labels() * 0, SPACING)]
    assert titles == ["Middle, slice 7 of 12 from above", "Coronal, middle"]


def test_panels_have_the_proportions_of_the_patient():
    axial, _, coronal = choose_planes(scan(), labels(), SPACING)
    assert axial.proportion == pytest.approx(100 * 1.0 / (60 * 1.5))
    assert coronal.proportion == pytest.approx(100 * 1.0 / (12 * 5.0))
    figure = draw_overlay(scan(), labels(), SPACING, name="a")
    assert [axes.get_aspect() for axes in figure.axes] == [1.5, 1.5, 5.0]


def test_the_patients_right_is_on_the_left_and_above_is_above():
    volume = labels()
    volume[0, 20:40, 10:12] = 1  # above, on the right
    coronal = choose_planes(scan(), volume, SPACING)[-1]
    assert coronal.labels[0, 10] == 1
    assert coronal.labels[-1].max() == 0
    assert choose_planes(scan(), volume, SPACING)[0].image[0, 0] == 250
    figure = draw_overlay(scan(), volume, SPACING, name="a")
    for axes in figure.axes:
        right, left = axes.texts
        assert (right.get_text(), left.get_text()) == ("R", "L")
        assert right.get_position()[0] < left.get_position()[0]
        assert axes.get_xlim()[0] < axes.get_xlim()[1]
        assert axes.get_ylim()[0] > axes.get_ylim()[1]  # rows run down, to the back or the feet


def test_the_title_has_name_and_volumes_and_the_legend_what_is_there():
    figure = draw_overlay(scan(), labels(), SPACING, name="case_00007")
    ml = SPACING[0] * SPACING[1] * SPACING[2] / 1000
    kidneys, tumor, cyst = ((labels() > 0).sum() * ml, (labels() == 2).sum() * ml, 5 * ml)
    title = figure.get_suptitle()
    assert title == f"case_00007 · kidneys with masses {kidneys:.1f} ml · tumor {tumor:.1f} ml · cyst {cyst:.1f} ml"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["kidney", "tumor", "cyst"]
    healthy = draw_overlay(scan(), labels(tumor=False), SPACING, name="a")
    assert [text.get_text() for text in healthy.legends[0].get_texts()] == ["kidney"]
    assert draw_overlay(scan(), labels() * 0, SPACING, name="a").legends == []


def test_outlines_run_around_the_labels_even_at_the_edge_of_the_picture():
    volume = labels() * 0
    volume[:, :5, :5] = 2
    axes = draw_overlay(scan(), volume, SPACING, name="a").axes[0]
    (outline,) = axes.collections
    assert to_hex(outline.get_edgecolor()[0]) == COLORS["tumor"]
    corners = outline.get_paths()[0].vertices
    assert corners.min(axis=0).tolist() == [-0.5, -0.5]
    assert corners.max(axis=0).tolist() == [4.5, 4.5]


@pytest.mark.parametrize("orientation", [("R", "A", "S"), ("A", "S", "L")])
def test_the_picture_is_the_same_in_every_orientation(tmp_path, orientation):
    grid, pictures = grid_from_spacing(SHAPE, SPACING), []
    for target in (("I", "P", "L"), orientation):
        path = tmp_path / "".join(target) / "case.png"
        image, mask = (reorient(Volume(array, grid), target) for array in (scan(), labels()))
        save_overlay(path, image, mask, name="a")
        pictures.append(matplotlib.image.imread(path))
        assert [file.name for file in path.parent.iterdir()] == ["case.png"]
    np.testing.assert_array_equal(*pictures)


def test_labels_of_another_grid_are_refused(tmp_path):
    image = Volume(scan(), grid_from_spacing(SHAPE, SPACING))
    other = Volume(labels(), grid_from_spacing(SHAPE, (5.0, 1.5, 1.1)))
    with pytest.raises(InputError, match=r"picture of a needs labels on the grid of the image.*mm apart"):
        save_overlay(tmp_path / "a.png", image, other, name="a")
    assert not list(tmp_path.iterdir())
