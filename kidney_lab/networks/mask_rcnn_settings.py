"""Ranges of Mask R-CNN's settings, checked before it is built: torchvision takes many wrong ones until it trains."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from kidney_lab.errors import InputError
from kidney_lab.numbers import is_number, is_whole

_LEVELS = 5  # of the pyramid


def check_channels(in_channels: int) -> None:
    """Makes sure that slices are such as a ResNet takes.

    Raises:
        InputError: they have neither 1 channel nor 3.
    """
    if in_channels not in (1, 3):
        raise InputError(
            f"Mask R-CNN takes slices of 1 or 3 channels, not {in_channels}: set view.neighbours to 0 or 1."
        )


def check_ranges(**settings: Any) -> None:
    """Makes sure that settings are in their ranges.

    Args:
        **settings: arguments of `MaskRCNN` by name, which are those of `model.` as well.

    Raises:
        InputError: on the first that is not.
    """
    for name, value in settings.items():
        fits, allowed = _RANGES[name]
        if not fits(value):
            raise InputError(f"model.{name}={value} is out of range: give {allowed}.")


def _is_count(value: Any) -> bool:
    return is_whole(value) and value >= 1


def _is_share(value: Any) -> bool:
    return is_number(value) and 0 <= value <= 1


def _are(value: Any, fits: Callable[[Any], bool]) -> bool:
    """Whether a value is a list, not empty, of what fits."""
    return isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 0 and all(map(fits, value))


def _are_counts(value: Any) -> bool:
    return _are(value, _is_count) and len(value) == 2


def _are_sizes(value: Any) -> bool:
    levels = _are(value, lambda level: _are(level, lambda size: is_number(size) and size > 0))
    return levels and len(value) == _LEVELS and len({len(level) for level in value}) == 1


_COUNT, _SHARE = (_is_count, "a whole number of at least 1"), (_is_share, "a number from 0 to 1")
_RANGES: Final[dict[str, tuple[Callable[[Any], bool], str]]] = {
    "anchor_sizes": (
        _are_sizes,
        f"{_LEVELS} lists of equally many numbers over 0, pixels, one for each level of the pyramid, such as "
        "[[32],[64],[128],[256],[512]]",
    ),
    "box_batch_size_per_image": _COUNT,
    "box_detections_per_img": _COUNT,
    "box_nms_thresh": _SHARE,
    "box_score_thresh": _SHARE,
    "channels": _COUNT,
    "mask_activation": (lambda value: value in ("sigmoid", "softmax"), "sigmoid or softmax"),
    "mask_roi_size": _COUNT,
    "rpn_top_n": (_are_counts, "two whole numbers of at least 1, for training and for inference"),
}
