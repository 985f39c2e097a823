import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal

from kidney_lab.reporting.slice_drawing import (
    BLACK_HU,
    WHITE_HU,
    WINDOW_WORDS,
    draw_image,
    fill_region,
    frame_slice,
    outline_region,
)

RED = "#ff0000"


@pytest.fixture
def axes():
    return Figure().add_axes((0, 0, 1, 1))


@pytest.fixture
def mask():
    """4 x 6 pixels, of which the two rows and three columns at the top right are set."""
    mask = np.zeros((4, 6), bool)
    mask[:2, 3:] = True
    return mask


def test_the_window_is_400_hu_wide_at_40_hu(axes):
    draw_image(axes, np.zeros((4, 6)))

    assert axes.images[0].get_clim() == (BLACK_HU, WHITE_HU) == (-160, 240)
    assert WINDOW_WORDS == "Soft-tissue window, 400 HU wide at 40 HU."


def test_a_fill_covers_its_pixels_alone(axes, mask):
    fill_region(axes, mask, RED, alpha=0.4)

    (fill,) = axes.images
    np.testing.assert_array_equal(~fill.get_array().mask, mask)
    assert fill.get_alpha() == 0.4
    assert to_hex(fill.cmap(0)) == RED


def test_an_outline_closes_at_the_edge_of_the_picture(axes, mask):
    edge = [Normal()]
    outline_region(axes, mask, RED, 1.5, edge=edge)

    (line,) = axes.collections
    corners = line.get_paths()[0].vertices
    assert (corners.min(axis=0).tolist(), corners.max(axis=0).tolist()) == ([2.5, -0.5], [5.5, 1.5])
    assert (corners[0] == corners[-1]).all()
    assert (to_hex(line.get_edgecolor()[0]), line.get_linewidths()[0]) == (RED, 1.5)
    assert line.get_path_effects() == edge


@pytest.mark.filterwarnings("error")
def test_an_empty_mask_draws_nothing(axes, mask):
    fill_region(axes, mask & False, RED, alpha=0.4)
    outline_region(axes, mask & False, RED, 1.5)

    assert not axes.images
    assert not axes.collections


def test_a_slice_is_shown_whole_in_the_patient_s_proportions(axes, mask):
    draw_image(axes, np.zeros(mask.shape))
    outline_region(axes, mask, RED, 1.5)
    frame_slice(axes, mask.shape, (3.0, 1.5))

    assert (axes.get_xlim(), axes.get_ylim()) == ((-0.5, 5.5), (3.5, -0.5))  # rows run down
    assert axes.get_aspect() == 2
    assert not axes.axison
