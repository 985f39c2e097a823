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


def test_tasks_that_need_no_torch_do_not_wait_for_it():
    code = "import sys; import kidney_lab.tasks.values; print([n for n in ('torch', 'monai') if n in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"
