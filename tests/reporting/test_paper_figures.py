import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import Circle
from PIL import Image
from scipy.spatial.distance import pdist

from kidney_lab.reporting import svg
from kidney_lab.reporting.paper_figures import PALETTE, draw, write_figures
from kidney_lab.reporting.plot import Plot


def picture(width=560.0):
    """A dot in the middle of a picture 100 high, a line over it, and an axis in mm."""
    drawing = svg.picture(width, 100.0, "test")
    group = svg.add(drawing, "g", kind="c1", data_run="A")
    svg.add_hint(svg.add(group, "circle", kind="dot", cx=width / 2, cy=50, r=3), "A: 0.5")
    svg.add(group, "polyline", kind="line seed", points=f"0,10 {width},10")
    svg.add(group, "polygon", kind="mean hint", points="5,5 10,10 5,15 0,10")
    svg.add(group, "rect", kind="box", x=5, y=60, width=20, height=8, rx=2)
    svg.add(drawing, "text", "Diameter (mm)", kind="axis", x=width / 2, y=90, text_anchor="middle")
    return svg.markup(drawing)


def plot(width=560.0, **more):
    return Plot("dice", "Dice of own/t", picture(width), "Box: quartiles.", **more)


def test_files_open_and_have_the_size_and_resolution_of_a_page(tmp_path):
    png, pdf, beside = write_figures([plot()], tmp_path / "figures")

    assert (png, pdf) == (tmp_path / "figures" / "dice.png", tmp_path / "figures" / "dice.pdf")
    with Image.open(png) as image:
        assert image.width == pytest.approx(170 / 25.4 * 300, abs=1)
        assert image.height == pytest.approx(170 / 25.4 * 300 * 100 / 560, abs=1)
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert image.info["Title"] == "Dice of own/t"
    content = pdf.read_bytes()
    assert content.startswith(b"%PDF")
    assert b"/CIDFontType2" in content or b"/TrueType" in content
    assert b"/FontFile2" in content  # a TrueType font, embedded
    assert b"/Type3" not in content
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["captions.md", "dice.pdf", "dice.png"]
    assert beside == tmp_path / "figures" / "captions.md"
    assert beside.read_text() == "# How to read the figures\n\n## dice\n\nDice of own/t.\n\nBox: quartiles.\n"


def test_the_same_plot_is_the_same_file(tmp_path):
    first, second = (write_figures([plot()], tmp_path / name) for name in "ab")

    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_a_narrow_picture_fits_a_column(tmp_path):
    figure = draw(plot(376.0))

    assert figure.get_size_inches()[0] == pytest.approx(85 / 25.4)


def test_shapes_lie_where_the_picture_has_them():
    figure = draw(plot())
    (axes,) = figure.axes
    (dot,) = [patch for patch in axes.patches if isinstance(patch, Circle)]
    at = axes.transData.transform(dot.center) / figure.dpi
    width, height = figure.get_size_inches()

    assert at == pytest.approx([width / 2, height / 2])
    assert to_hex(dot.get_facecolor()) == PALETTE[1]
    (line,) = axes.lines
    assert np.asarray(line.get_xydata()).tolist() == [[0, 10], [560, 10]]
    assert line.get_linewidth() < 1
    assert [text.get_text() for text in axes.texts] == ["Diameter (mm)"]
    assert {text.get_fontsize() for text in axes.texts} == {8.0}


def test_legend_and_note_lie_below_the_picture_and_inside_the_figure():
    names = [(index, f"A row of the table with number {index}") for index in range(5)]
    figure = draw(plot(376.0, legend=names, note="Data: phantom (SYNTHESIZED images)"))
    (axes,), (legend,), (note,) = figure.axes, figure.legends, figure.texts
    width, _ = figure.get_size_inches() * figure.dpi
    box, below = legend.get_window_extent(), note.get_window_extent()

    assert [text.get_text() for text in legend.get_texts()] == [name for _, name in names]
    assert note.get_text() == "Data: phantom (SYNTHESIZED images)"
    assert 0 <= below.y0 < below.y1 <= box.y0 < box.y1 <= axes.get_window_extent().y0 + 0.5
    assert max(box.x1, below.x1) <= width
    colors = [to_hex(key.get_color()) for key in legend.legend_handles]
    assert colors == list(PALETTE[:5])


def test_the_ninth_colour_is_the_first_once_more_and_hollow():
    drawing = svg.picture(560, 100, "test")
    group = svg.add(drawing, "g", kind=svg.color_class(8))
    svg.add(group, "circle", kind="dot", cx=5, cy=5, r=3)
    svg.add(group, "polyline", kind="line", points="0,10 50,10")
    figure = draw(Plot("a", "a", svg.markup(drawing), "", legend=[(8, "I")]))
    (dot,), (line,) = figure.axes[0].patches, figure.axes[0].lines

    assert dot.get_facecolor()[3] == 0
    assert to_hex(dot.get_edgecolor()) == to_hex(line.get_color()) == PALETTE[0]
    assert line.is_dashed()
    assert figure.legends[0].legend_handles[0].get_markerfacecolor() == "none"


def test_a_name_with_a_dollar_is_no_formula(tmp_path):
    figure = draw(plot(legend=[(0, "$L_{dice}$ + $")]))
    (text,) = figure.legends[0].get_texts()

    assert not text.get_parse_math()
    write_figures([plot(legend=[(0, "$L_{dice$")])], tmp_path)  # of matplotlib's formulas an error


# Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision deficiency", 2009,
# severity 1.0: linear RGB as it is seen without the red, and without the green cones
TO_XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]  # of linear sRGB
PROTANOPIA = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
DEUTERANOPIA = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]


@pytest.mark.parametrize("cones", [np.eye(3), PROTANOPIA, DEUTERANOPIA])
def test_people_of_every_colour_vision_can_tell_the_colours_apart(cones):
    colors = np.array([to_rgb(color) for color in PALETTE])
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.transpose(cones), 0, 1) @ np.transpose(TO_XYZ)
    share = seen / np.sum(TO_XYZ, axis=1)
    f = np.where(share > (6 / 29) ** 3, np.cbrt(share), share * (29 / 6) ** 2 / 3 + 4 / 29)
    lab = np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)

    assert pdist(lab).min() > 15  # 2.3 is just noticeable
