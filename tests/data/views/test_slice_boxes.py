import numpy as np
import pytest

from kidney_lab.data.views.slice_boxes import Square, box_within, jittered, squares, whole_slice

RULE = {"margin": 0.25, "min_margin": 8, "min_pixels": 20}


def marked(*boxes, shape=(200, 300)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    for box in boxes:
        mask[box] = True
    return mask


def test_a_square_has_a_margin_of_a_quarter_of_the_longer_side():
    assert squares(marked(np.s_[50:90, 100:180]), **RULE) == [Square(10, 80, 120)]  # 80 + 2 * 20, centred on (70, 140)


def test_the_margin_of_what_is_small_is_eight_pixels():
    assert squares(marked(np.s_[50:60, 100:106]), **RULE) == [Square(42, 90, 26)]


@pytest.mark.parametrize(("pixels", "found"), [(19, 0), (20, 1)])
def test_less_than_twenty_pixels_are_noise(pixels, found):
    assert len(squares(marked(np.s_[50, 100 : 100 + pixels]), **RULE)) == found


def test_every_component_has_a_square_and_joint_ones_share_it():
    mask = marked(np.s_[50:90, 20:60], np.s_[70:110, 200:240], np.s_[0, 0])

    assert squares(mask, **RULE) == [Square(40, 10, 60), Square(60, 190, 60)]
    assert squares(mask, mode="joint", **RULE) == [Square(-85, -35, 330)]  # 220 + 2 * 55 about (80, 130)


def test_components_touch_over_corners():
    assert len(squares(marked(np.s_[50:60, 50:60], np.s_[60:70, 60:70]), **RULE)) == 1


@pytest.mark.parametrize("mode", ["component", "joint"])
def test_nothing_and_noise_alone_have_no_square(mode):
    assert squares(marked(), mode=mode, **RULE) == []
    assert squares(marked(np.s_[3, 3]), mode=mode, **RULE) == []


def test_a_square_may_reach_beyond_the_slice_and_its_box_does_not():
    (square,) = squares(marked(np.s_[0:40, 280:300]), **RULE)

    assert square == Square(-10, 260, 60)
    assert box_within(square, 7, (9, 200, 300)) == (slice(7, 8), slice(0, 50), slice(260, 300))


def test_the_whole_slice_is_the_square_that_holds_it():
    assert whole_slice((200, 300)) == Square(-50, 0, 300)


def test_jitter_moves_and_resizes_by_at_most_its_part_of_the_side():
    square, rng = Square(50, 80, 100), np.random.default_rng(0)

    drawn = [jittered(square, 0.1, rng) for _ in range(500)]

    sides = np.array([one.side for one in drawn])
    middles = np.array([(one.h + one.side / 2, one.w + one.side / 2) for one in drawn]) - (100, 130)
    assert (sides.min(), sides.max()) == (90, 110)
    assert 9 < np.abs(middles).max() <= 10.5
    assert abs(np.corrcoef(middles.T)[0, 1]) < 0.2
    assert jittered(square, 0.0, rng) == square
