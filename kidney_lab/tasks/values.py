"""Values that any task's settings may have wrong: counts, seeds, shares, and what is either true or false."""

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from kidney_lab.errors import InputError
from kidney_lab.numbers import is_number, is_range, is_whole

_SMALLEST: dict[str, int] = {
    "data.n_test": 0,
    "data.n_train": 1,
    "data.n_val": 1,
    "data.num_workers": 0,
    "model.batch_size": 1,
    "model.freeze_epochs": 0,
    "model.min_pixels": 1,
    "model.refit.max_pixels": 2,
    "model.refit.samples": 1,
    "model.warmup_steps": 0,
    "prepare.workers": 1,
    "trainer.accumulate_grad_batches": 1,
    "trainer.check_val_every_n_epoch": 1,
    "trainer.max_epochs": 1,
    "trainer.num_nodes": 1,
    "view.copies": 1,
    "view.neighbours": 0,
    "view.samples_per_epoch": 1,
    "view.val_samples": 1,
}
_FINITE = (  # their ranges are told by what takes them
    "loss.boundary_weight",
    "loss.lambda_ce",
    "loss.lambda_dice",
    "model.boundary_head_weight",
    "model.channel_threshold",
)
_SHARES = {"model.dropout": "the features", "model.overlap": "a window"}
_RATES = ("model.lr", "model.encoder_lr")
_LEVELS = {"model.channels": True, "model.convolutions": False, "model.decoder_channels": False}
"""Counts of every level; true: some networks have one for all levels."""
_SEEDS = ("seed", "data.split_seed")
_LARGEST_SEED = 2**32 - 1
_SWITCHES = (
    "augment.spatial.scale_isotropic",
    "data.synthesize_missing_images",
    "download.instances",
    "download.verify",
    "lesions",
    "loss.batch",
    "loss.detach_difficulty",
    "loss.difficulty",
    "loss.include_background",
    "loss.sigmoid",
    "loss.softmax",
    "model.antialias",
    "model.boundary_head",
    "model.cascade",
    "model.channel_attention",
    "model.checkpointing",
    "model.crop_to_body",
    "model.deep_supervision",
    "model.fusion",
    "model.mi_detach",
    "model.refit.enabled",
    "model.refit.literal",
    "model.residual",
    "model.roi.mask",
    "model.shortcut",
    "model.spatial_attention",
    "model.uncertainty",
    "nnunet.copy",
    "nnunet.regions",
    "onnx",
    "overwrite",
    "predict.dicom_seg",
    "predict.measurements",
    "predict.overlay",
    "predict.probabilities",
    "prepare.rebuild",
    "view.quantize",
)
_NULL_ALLOWED = (
    "data.n_test",
    "data.n_train",
    "data.n_val",
    "data.num_workers",
    "download.instances",
    "prepare.workers",
)


def check_values(config: DictConfig) -> None:
    """Checks numbers and switches, before anything is made of them.

    Raises:
        InputError: on the first that is wrong.
    """
    check_numbers(config)
    check_switches(config)


def check_numbers(config: DictConfig) -> None:
    """Makes sure that counts and seeds are whole numbers in their range, and shares and rates numbers in theirs.

    Weights that a loss or a network has must be finite.

    Raises:
        InputError: on the first that is not.
    """
    _check_windows_and_weights(config)  # other values count the windows
    for key, smallest in _SMALLEST.items():
        value = _selected(config, key, smallest)
        if value is None and key in _NULL_ALLOWED:
            continue
        if not is_whole(value) or value < smallest:
            null = ", or null" if key in _NULL_ALLOWED else ""
            raise InputError(f"{key}={value} is no count: give a whole number of at least {smallest}{null}.")
    for key in _SEEDS:
        value = _selected(config, key, 0)
        if not is_whole(value) or not 0 <= value <= _LARGEST_SEED:
            raise InputError(f"{key}={value} is no seed: give a whole number from 0 to {_LARGEST_SEED}.")
    for key in _FINITE:
        value = _selected(config, key, 0)
        if not is_number(value):
            raise InputError(f"{key}={value} is no number: give one that is finite.")
    _check_gradient_limits(config)
    _check_shares_and_rates(config)
    _check_levels(config)


def _check_shares_and_rates(config: DictConfig) -> None:
    for key, whole in _SHARES.items():
        value = _selected(config, key, 0)
        if not is_number(value) or not 0 <= value < 1:
            raise InputError(f"{key}={value} is no share of {whole}: give a number from 0 to below 1.")
    for key in _RATES:
        value = _selected(config, key, 0)
        if not is_number(value) or value < 0:
            raise InputError(f"{key}={value} is no learning rate: give a number of at least 0.")


def _check_levels(config: DictConfig) -> None:
    for key, alone in _LEVELS.items():
        value = _selected(config, key, [1])
        counts = value if isinstance(value, Sequence) and not isinstance(value, str) else [value] if alone else []
        if not counts or not all(is_whole(count) and count >= 1 for count in counts):
            or_alone = ", or one for all of them" if alone else ""
            raise InputError(f"{key}={value} counts no levels: give a list of whole numbers of at least 1{or_alone}.")


def _check_windows_and_weights(config: DictConfig) -> None:
    windows = _selected(config, "model.windows", [[0, 1]])
    if not isinstance(windows, Sequence) or not windows or not all(map(is_range, windows)):
        raise InputError(f"model.windows={windows} are no windows: give rising pairs of HU, such as [[-150,250]].")
    weights = _selected(config, "model.weights", "none")
    by_member = isinstance(weights, DictConfig) and _selected(config, "model.members", None) is not None
    if not isinstance(weights, str) and not by_member:
        raise InputError(f"model.weights={weights} names no weights: give none, imagenet, or the path of a file.")


def _check_gradient_limits(config: DictConfig) -> None:
    for key in ("model.gradient_clip_val", "trainer.gradient_clip_val"):
        value = _selected(config, key, None)
        if value is not None and (not is_number(value) or value < 0):
            raise InputError(f"{key}={value} is no limit of gradients: give a number of at least 0, or null.")


def check_switches(config: DictConfig) -> None:
    """Makes sure that what is either true or false is one of them: any text would count as true, `no` and `off` too.

    Raises:
        InputError: on the first that is neither.
    """
    for key in _SWITCHES:
        value = _selected(config, key, False)
        if not isinstance(value, bool) and not (value is None and key in _NULL_ALLOWED):
            null = ", or null" if key in _NULL_ALLOWED else ""
            raise InputError(f"{key}={value} is no switch: give true or false{null}.")


def _selected(config: DictConfig, key: str, absent: Any) -> Any:
    """A value of the configuration; `absent` where this task or model has no such setting."""
    return OmegaConf.select(config, key, default=absent)
