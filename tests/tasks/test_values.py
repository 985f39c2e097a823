import subprocess
import sys

import pytest
from omegaconf import OmegaConf

from kidney_lab.errors import InputError
from kidney_lab.tasks.values import check_numbers, check_switches


def config(**values):
    made = OmegaConf.create({})
    for key, value in values.items():
        OmegaConf.update(made, key.replace("__", "."), value)
    return made


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"data__n_val": 0}, "data.n_val=0 is no count: give a whole number of at least 1, or null."),
        ({"data__n_test": True}, "data.n_test=True is no count: give a whole number of at least 0, or null."),
        ({"trainer__max_epochs": None}, "trainer.max_epochs=None is no count: give a whole number of at least 1."),
        (
            {"data__split_seed": 2**32},
            "data.split_seed=4294967296 is no seed: give a whole number from 0 to 4294967295.",
        ),
        ({"loss__boundary_weight": float("nan")}, "loss.boundary_weight=nan is no number: give one that is finite."),
        ({"loss__lambda_dice": "abc"}, "loss.lambda_dice=abc is no number"),
        ({"loss__lambda_ce": float("inf")}, "loss.lambda_ce=inf is no number"),
        ({"model__boundary_head_weight": None}, "model.boundary_head_weight=None is no number"),
        ({"model__channel_threshold": True}, "model.channel_threshold=True is no number"),
        ({"model__gradient_clip_val": "abc"}, "model.gradient_clip_val=abc is no limit of gradients: give a number of"),
        ({"trainer__gradient_clip_val": -1}, "trainer.gradient_clip_val=-1 is no limit of gradients"),
        ({"model__dropout": 2}, "model.dropout=2 is no share of the features: give a number from 0 to below 1."),
        ({"model__dropout": 1}, "model.dropout=1 is no share of the features"),
        ({"model__dropout": -0.1}, "model.dropout=-0.1 is no share of the features"),
        ({"model__dropout": "abc"}, "model.dropout=abc is no share of the features"),
        ({"model__dropout": True}, "model.dropout=True is no share of the features"),
        ({"model__dropout": None}, "model.dropout=None is no share of the features"),
        ({"model__freeze_epochs": -1}, "model.freeze_epochs=-1 is no count: give a whole number of at least 0."),
        ({"model__freeze_epochs": "abc"}, "model.freeze_epochs=abc is no count"),
        ({"view__neighbours": "abc"}, "view.neighbours=abc is no count: give a whole number of at least 0."),
        ({"view__copies": 0}, "view.copies=0 is no count: give a whole number of at least 1."),
        ({"model__lr": "abc"}, "model.lr=abc is no learning rate: give a number of at least 0."),
        ({"model__encoder_lr": -1}, "model.encoder_lr=-1 is no learning rate: give a number of at least 0."),
        (
            {"model__channels": "abc"},
            "model.channels=abc counts no levels: give a list of whole numbers of at least 1, or one for all of them.",
        ),
        ({"model__channels": [0, 8]}, "model.channels=[0, 8] counts no levels"),
        ({"model__convolutions": [1.5]}, "model.convolutions=[1.5] counts no levels"),
        (
            {"model__decoder_channels": []},
            "model.decoder_channels=[] counts no levels: give a list of whole numbers of at least 1.",
        ),
        ({"model__decoder_channels": 16}, "model.decoder_channels=16 counts no levels"),
        (
            {"model__windows": [[3, 1]]},
            "model.windows=[[3, 1]] are no windows: give rising pairs of HU, such as [[-150,250]].",
        ),
        ({"model__windows": []}, "model.windows=[] are no windows"),
        ({"model__windows": None}, "model.windows=None are no windows"),
        (
            {"model__weights": None},
            "model.weights=None names no weights: give none, imagenet, or the path of a file.",
        ),
        ({"model__weights": {"vgg16": "none"}}, "model.weights={'vgg16': 'none'} names no weights"),
        ({"model__weights": ["none"]}, "model.weights=['none'] names no weights"),
        ({"model__overlap": 1}, "model.overlap=1 is no share of a window: give a number from 0 to below 1."),
        ({"model__overlap": [0.5, 0.5]}, "model.overlap=[0.5, 0.5] is no share of a window: give a number"),
    ],
)
def test_numbers_out_of_their_range_are_one_sentence(values, sentence):
    with pytest.raises(InputError) as refused:
        check_numbers(config(**values))
    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize("value", ["abc", "no", "off", 1, 0, [True]])
@pytest.mark.parametrize(
    "key",
    [
        *("download.verify", "download.instances", "prepare.rebuild", "loss.batch", "loss.include_background"),
        "loss.difficulty",
        *("loss.sigmoid", "loss.softmax", "model.cascade", "model.residual", "model.deep_supervision"),
        "model.checkpointing",
        *("model.fusion", "model.channel_attention", "model.spatial_attention", "model.shortcut", "model.mi_detach"),
        *("model.boundary_head", "lesions"),
    ],
)
def test_what_is_neither_true_nor_false_is_refused(key, value):
    with pytest.raises(InputError, match=rf"^{key}=.* is no switch: give true or false"):
        check_switches(config(**{key.replace(".", "__"): value}))


def test_null_is_a_switch_where_it_has_a_meaning():
    check_switches(config(download__instances=None))
    with pytest.raises(InputError, match=r"download\.verify=None is no switch: give true or false\."):
        check_switches(config(download__verify=None))


def test_a_task_without_a_setting_is_not_asked_for_it():
    check_numbers(config())
    check_switches(config(data__root="x"))
    check_numbers(config(data__n_train=None, prepare__workers=None, seed=0))


def test_what_works_is_let_through():
    check_numbers(config(model__dropout=0, model__channels=[4, 8], model__lr=1e-3, model__freeze_epochs=0))
    check_numbers(config(model__channels=256, model__windows=[[-150, 250], [-20, 180]], model__weights="none"))
    check_numbers(config(model__weights={"vgg16": "none"}, model__members=["vgg16"]))


def test_tasks_that_need_no_torch_do_not_wait_for_it():
    code = "import sys; import kidney_lab.tasks.values; print([n for n in ('torch', 'monai') if n in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"
