import pytest

from kidney_lab.errors import InputError
from kidney_lab.networks.mask_rcnn_settings import check_channels, check_ranges

COUNTS = ["box_batch_size_per_image", "box_detections_per_img", "channels", "mask_roi_size"]
SHARES = ["box_nms_thresh", "box_score_thresh"]


def refused(message, **settings):
    with pytest.raises(InputError) as caught:
        check_ranges(**settings)
    assert str(caught.value).startswith(message)


def test_settings_at_the_ends_of_their_ranges_pass():
    check_ranges(**dict.fromkeys(COUNTS, 1), box_nms_thresh=0, box_score_thresh=1.0, rpn_top_n=(1, 1))
    check_ranges(anchor_sizes=((0.5,),) * 5, mask_activation="softmax")
    check_ranges(anchor_sizes=[[32, 64]] * 5, mask_activation="sigmoid")
    check_channels(3)


@pytest.mark.parametrize("value", [0, -1, 2.5, "abc", None, True])
@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_whole_numbers_from_1_on(name, value):
    refused(f"model.{name}={value} is out of range: give a whole number of at least 1.", **{name: value})


@pytest.mark.parametrize("value", [-0.1, 1.1, "abc", None, float("nan")])
@pytest.mark.parametrize("name", SHARES)
def test_shares_are_numbers_from_0_to_1(name, value):
    refused(f"model.{name}={value} is out of range: give a number from 0 to 1.", **{name: value})


@pytest.mark.parametrize("value", [10, [10], [1, 0], [1, 2, 3], "12", [1.5, 2]])
def test_proposals_are_counted_for_training_and_for_inference(value):
    refused(f"model.rpn_top_n={value} is out of range: give two whole numbers of at least 1", rpn_top_n=value)


@pytest.mark.parametrize(
    "value", [64, [[64]], [[64]] * 4 + [[32, 64]], [[64]] * 4 + [["abc"]], [[0]] * 5, [[]] * 5, [64] * 5]
)
def test_anchors_are_five_lists_of_sizes(value):
    refused(f"model.anchor_sizes={value} is out of range: give 5 lists of equally many numbers", anchor_sizes=value)


def test_slices_have_one_or_three_channels_and_masks_one_of_two_activations():
    refused("model.mask_activation=relu is out of range: give sigmoid or softmax.", mask_activation="relu")
    with pytest.raises(InputError, match=r"1 or 3 channels, not 5: set view\.neighbours to 0 or 1"):
        check_channels(5)
