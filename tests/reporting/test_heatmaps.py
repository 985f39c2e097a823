from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from matplotlib.contour import ContourSet

from kidney_lab.errors import InputError
from kidney_lab.reporting.heatmaps import HeatSlice, draw_heatmaps, save_heatmaps

SPACING_MM = (3.0, 1.0, 1.0)


def disc(radius: float, shape: tuple[int, int] = (80, 100)) -> np.ndarray:
    rows, columns = np.indices(shape)
    return np.hypot(rows - 40, columns - 60) <= radius


def heat_slice(region: str = "tumor", **planes: np.ndarray) -> HeatSlice:
    given = {
        "image": np.where(disc(12), 120.0, 20.0),
        "heat": np.where(disc(14), 0.5, 0.0),
        "before": np.where(disc(6), 0.9, 0.1) * disc(14),
        "after": np.where(disc(10), 1.2, -0.1) * disc(14),
        "prediction": disc(10),
        "reference": disc(10),
    }
    return HeatSlice(region, **{**given, **planes})


def shown(axes) -> np.ndarray:
    return axes.images[-1].get_array()


def outlines(axes) -> list[ContourSet]:
    return [child for child in axes.get_children() if isinstance(child, ContourSet)]


def extent(contour: ContourSet) -> list[float]:
    """First and last column, first and last row of an outline."""
    points = np.concatenate([path.vertices for path in contour.get_paths()])
    return [*points[:, 0][[points[:, 0].argmin(), points[:, 0].argmax()]], points[:, 1].min(), points[:, 1].max()]


def test_a_row_shows_image_heat_and_the_probability_before_and_after():
    given = heat_slice()
    image, heat, before, after = draw_heatmaps([given], SPACING_MM).axes[:4]

    for axes, plane in ((image, given.image), (before, given.before), (after, given.after)):
        np.testing.assert_array_equal(shown(axes), plane)
    np.testing.assert_array_equal(heat.images[0].get_array(), given.image)
    np.testing.assert_array_equal(shown(heat).mask, given.heat == 0)  # the image is seen where there is no heat
    np.testing.assert_array_equal(shown(heat).filled(0), given.heat)
    assert image.images[0].get_clim() == (-160, 240)
    assert {axes.images[-1].get_clim() for axes in (heat, before, after)} == {(0, 1)}


def test_the_darker_the_blue_the_more_heat():
    color = draw_heatmaps([heat_slice()], SPACING_MM).axes[1].images[-1].cmap
    few, many = np.array(color(0.1)), np.array(color(0.9))
    assert many[:3].sum() < few[:3].sum()
    assert many[2] == many[:3].max()


def test_titles_tell_the_region_and_what_the_refit_changed_in_the_slice():
    titles = [axes.get_title() for axes in draw_heatmaps([heat_slice()], SPACING_MM).axes[:4]]
    small, large = disc(6).sum(), disc(10).sum()
    assert titles[0] == "Tumor"
    assert titles[2] == f"Before the refit, Dice of this slice {2 * small / (small + large):.3f}"
    assert titles[3] == "After it, Dice of this slice 1.000"


def test_outlines_are_those_of_the_reference_and_of_each_panel_s_mask():
    axes = draw_heatmaps([heat_slice(prediction=disc(8))], SPACING_MM).axes[:4]
    radii = [[(extent(outline)[1] - extent(outline)[0]) / 2 for outline in outlines(one)] for one in axes]
    assert radii == [[10.5, 8.5], [10.5, 8.5], [10.5, 6.5], [10.5, 8.5]]
    assert extent(outlines(axes[0])[0]) == [49.5, 70.5, 29.5, 50.5]


def test_an_outline_closes_at_the_edge_of_the_slice():
    whole = np.ones((80, 100), bool)
    figure = draw_heatmaps([heat_slice(prediction=whole, reference=None)], SPACING_MM)
    (outline,) = outlines(figure.axes[0])
    assert extent(outline) == [-0.5, 99.5, -0.5, 79.5]


def test_rows_are_cut_to_the_heat_with_a_margin_in_mm():
    figure = draw_heatmaps([heat_slice()], (3.0, 1.0, 3.0))
    for axes in figure.axes[:4]:
        assert axes.get_xlim() == (60 - 14 - 5 - 0.5, 60 + 14 + 5 + 0.5)
        assert axes.get_ylim() == (40 + 14 + 15 + 0.5, 40 - 14 - 15 - 0.5)
        assert axes.get_aspect() == pytest.approx(1 / 3)


def test_a_slice_without_reference_or_findings_is_shown_whole():
    nothing = np.zeros((80, 100))
    given = HeatSlice("kidney_and_mass", nothing, nothing, nothing, nothing, nothing)
    figure = draw_heatmaps([given], SPACING_MM)
    assert [axes.get_title() for axes in figure.axes[2:4]] == ["Before the refit", "After it"]
    assert not any(outlines(axes) for axes in figure.axes[:4])
    assert figure.axes[0].get_xlim() == (-0.5, 99.5)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Prediction"]


def test_rows_stand_below_each_other_in_a_picture_named_after_the_case(tmp_path: Path):
    path = tmp_path / "heatmaps" / "case_00001.png"
    rows = [heat_slice("kidney_and_mass"), replace(heat_slice(), reference=None)]

    save_heatmaps(path, rows, SPACING_MM)

    assert matplotlib.image.imread(path).shape[:2] == (750, 1200)  # two squares of 2.95 inches, their titles, keys
    assert [file.name for file in path.parent.iterdir()] == ["case_00001.png"]
    figure = draw_heatmaps(rows, SPACING_MM, title="case_00001")
    assert figure.get_suptitle() == "case_00001"
    assert len(figure.axes) == 2 * 4 + 3  # and three colour bars


def test_planes_of_different_slices_are_refused():
    with pytest.raises(InputError, match=r"shapes .*'heat': \(2, 2\).* give the same slice"):
        heat_slice(heat=np.zeros((2, 2)))
