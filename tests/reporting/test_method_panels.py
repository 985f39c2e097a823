import numpy as np
import pytest

from kidney_lab.geometry import grid_from_spacing
from kidney_lab.metrics.measurement import Measurement
from kidney_lab.metrics.scoring import METRIC_TABLE
from kidney_lab.reporting.case_files import Scan
from kidney_lab.reporting.method_panels import Corner, draw_panels, panel_row

MM_PER_INCH = 25.4


def scan() -> Scan:
    grid = grid_from_spacing((12, 200, 240), (3.0, 1.0, 1.0))
    reference = np.zeros(grid.shape, np.uint8)
    reference[2:10, 60:120, 80:160] = 1
    reference[4:8, 70:80, 90:100] = 2
    reference[6, 70:90, 90:110] = 2
    return Scan(np.full(grid.shape, 40, np.int16), reference, grid)


def row(*names: str, prediction: np.ndarray | None = None):
    given = scan()
    labels = given.reference if prediction is None else prediction
    return panel_row(
        "case_00001",
        "worst case",
        given,
        {name: labels for name in names},
        region="tumor",
        dice=dict.fromkeys(names, 0.875),
    )


def test_a_row_is_the_slice_with_most_tumor_cut_to_the_proportion_of_a_cell():
    shown = row("A")
    assert shown.slice_number == 7
    # 60 x 80 mm labelled, and 12 mm on each side: 84 x 104, which is widened to 4 by 3
    assert shown.image.shape == shown.reference.shape == (84, 112)
    assert (shown.reference == 2).sum() == 400
    np.testing.assert_array_equal(shown.predictions["A"], shown.reference)


def test_asd_is_the_mean_distance_of_the_surfaces_in_the_whole_case():
    given = scan()
    apart = np.zeros_like(given.reference)
    given.reference[:], given.reference[0:12, 50:60, 50:60] = 0, 2
    apart[0:12, 50:60, 53:63] = 2  # the same block 3 mm beside
    shown = panel_row("c", "", given, {"A": apart}, region="tumor", dice={"A": 0.7})
    whole = Measurement(apart > 0, given.reference > 0, given.spacing_mm, tolerance_mm=1.0, voxels=apart.size)
    assert shown.corners["A"].asd_mm == pytest.approx(METRIC_TABLE["assd"].compute(whole))
    assert 1.0 < shown.corners["A"].asd_mm < 2.0  # two of the four sides lie 3 mm apart, the others overlap
    same = panel_row("c", "", given, {"A": given.reference}, region="tumor", dice={"A": 1.0})
    assert same.corners["A"].asd_mm == 0


def test_corner_says_what_is_undefined():
    assert str(Corner("tumor", 0.8749, 1.26)) == "Tumor\nDice 0.875\nASD 1.3 mm"
    assert str(Corner("kidney_and_mass", float("nan"), float("nan"))) == "Kidney and mass\nDice —\nASD —"
    nothing = row("A", prediction=np.zeros_like(scan().reference))
    assert np.isnan(nothing.corners["A"].asd_mm)


def test_columns_are_the_methods_and_the_reference_last():
    figure = draw_panels([row("A", "B"), row("A")], ["A", "B"], note="SYNTHESIZED images")
    texts = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert [axes.get_title() for axes in figure.axes] == ["A", "B", "Reference", "", "", ""]
    assert texts[:3] == [["Tumor\nDice 0.875\nASD 0.0 mm"], ["Tumor\nDice 0.875\nASD 0.0 mm"], [""]]
    assert texts[4] == ["no label map kept"]  # of B in the second case
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["kidney", "tumor", "SYNTHESIZED images"]
    assert [text.get_text() for text in figure.texts] == ["case_00001\nworst case"] * 2


@pytest.mark.parametrize(("methods", "width_mm"), [("AB", 170), ("ABCDEFGH", 9 + 9 * 28)])
def test_figure_has_the_width_of_a_page_unless_columns_would_be_too_narrow(methods, width_mm):
    figure = draw_panels([row(*methods)], list(methods))
    assert figure.get_size_inches()[0] * MM_PER_INCH == pytest.approx(width_mm)
