import re

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf.errors import OmegaConfBaseException

from kidney_lab.composition.messages import describe
from kidney_lab.composition.resolvers import register_resolvers
from kidney_lab.composition.search_path import config_folder, register_experiments
from kidney_lab.errors import InputError
from kidney_lab.tasks.settings import check_settings, check_trainer
from kidney_lab.tasks.values import check_values
from tests.support.composed import channels_of


def composed(*overrides):
    register_resolvers()
    register_experiments()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        everything = ["trainer=smoke", "logger=none", "hydra.mode=RUN", *overrides]
        return compose("config", overrides=everything, return_hydra_config=True)


def check(*overrides):
    config = composed(*overrides)
    HydraConfig.instance().set_config(config)
    check_values(config)
    instantiate(config.data, _convert_="all")
    check_settings(config)
    return config


def test_several_processes_are_started_once_and_normalise_together_on_gpus_alone():
    together = ["trainer.devices=2"]
    check(*together, "trainer.strategy=ddp")
    with pytest.raises(InputError, match=r"trainer\.strategy=ddp_spawn starts processes of its own"):
        check(*together, "trainer.strategy=ddp_spawn")
    with pytest.raises(InputError, match=r"trainer\.sync_batchnorm=true needs GPUs"):
        check(*together, "trainer.strategy=ddp", "trainer.sync_batchnorm=true")


def test_networks_that_take_turns_are_no_matter_of_msalds_alone():
    check("model=vox2vox", "trainer.strategy=ddp")
    with pytest.raises(InputError, match=r"choose trainer\.strategy=ddp_find_unused_parameters_true"):
        check("model=vox2vox", "trainer.strategy=ddp_spawn")


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("model.batch_size=0", "model.batch_size=0 is no count: give a whole number of at least 1."),
        ("data.num_workers=-1", "data.num_workers=-1 is no count: give a whole number of at least 0, or null."),
        ("trainer.max_epochs=abc", "trainer.max_epochs=abc is no count"),
        ("trainer.max_epochs=1.5", "trainer.max_epochs=1.5 is no count"),
        ("trainer.num_nodes=abc", "trainer.num_nodes=abc is no count"),
        ("model.samples_per_epoch=null", "view.samples_per_epoch=None is no count"),
        ("prepare.workers=true", "prepare.workers=True is no count"),
        ("seed=-1", "seed=-1 is no seed"),
        ("inference.precision=x", "inference.precision=x is unknown: choose one of trained, auto, 32-true"),
        ("inference.mirror_axes=1", "inference.mirror_axes=1 must name 0"),
        ("data.n_train=abc", "data.n_train=abc is no count: give a whole number of at least 1, or null."),
        ("data.n_val=1.5", "data.n_val=1.5 is no count"),
        ("data.n_test=-1", "data.n_test=-1 is no count: give a whole number of at least 0, or null."),
        ("data.split_seed=abc", "data.split_seed=abc is no seed: give a whole number from 0 to 4294967295."),
        ("data.split_seed=-1", "data.split_seed=-1 is no seed"),
        ("data.split_seed=null", "data.split_seed=None is no seed"),
        ("model.overlap=2", "model.overlap=2 is no share of a window: give a number from 0 to below 1."),
        ("model.overlap=abc", "model.overlap=abc is no share of a window"),
        ("data.max_time=abc", "data.max_time=abc is no time: give DD:HH:MM:SS, such as 00:12:00:00, or null."),
        ("trainer.max_time=12", "trainer.max_time=12 is no time"),
        ("scheduler.power=abc", "The optimizer or scheduler of the stage segmentation cannot be made"),
        ("trainer.devices=0", "trainer.devices=0 is no number of devices: give a whole number of at least 1, or auto."),
        ("trainer.devices=abc", "trainer.devices=abc is no number of devices"),
        ("trainer.devices=4096", "trainer.devices=4096 is more than the [0-9]+ cores that are here: give at most"),
        ("prepare.rebuild=abc", "prepare.rebuild=abc is no switch: give true or false."),
        ("model.antialias=abc", "model.antialias=abc is no switch"),
        ("data.synthesize_missing_images=1", "data.synthesize_missing_images=1 is no switch"),
        ("augment.spatial.scale_isotropic=abc", "augment.spatial.scale_isotropic=abc is no switch"),
        ("model.roi_size=[15,15,15]", r"cannot take samples of the view, \[15, 15, 15\] voxels in 1 channels \(.*\): "),
        ("optimizer.lr=abc", "The optimizer or scheduler of the stage segmentation cannot be made"),
        ("model.lr=-1", "model.lr=-1 is no learning rate: give a number of at least 0."),
        ("postprocessing.keep=some", "postprocessing.keep"),
    ],
)
def test_a_setting_that_cannot_work_is_one_sentence(override, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        check(override)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (f"logger.tags=[{'a' * 65}]", "logger.tags holds 'a{65}', which has 65 characters: W&B takes tags of 1 to 64"),
        ("logger.artifacts=some", "logger.artifacts=some is unknown: choose one of none, best, all."),
    ],
)
def test_what_wandb_would_not_take_is_told_before_the_data_is_prepared(override, sentence):
    with pytest.raises(InputError, match=sentence):
        check("logger=wandb", override)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["view=roi", "view.multiple=0"], "view.multiple=0 is no count: give a whole number of at least 1."),
        (["view.within=roi", "view.margin_mm=abc"], "view.margin_mm=abc is no margin: give 0 mm or more."),
        (["view.within=roi", "view.margin_mm=-1"], "view.margin_mm=-1 is no margin: give 0 mm or more."),
        (["view.foreground_fraction=abc"], "view.foreground_fraction=abc is no share: give a number from 0 to 1."),
        (["view.label_weights={kidney:abc}"], "view.label_weights={kidney: abc} must be weights of 0 or more, "),
        (["augment=nnunet", "augment.spatial.rotate_prob=abc"], "augment: rotate_prob=abc is no share: "),
        (["augment.intensity=5"], "augment.intensity=5 is no random transform: "),
        (["data.exclude=5"], "data.exclude=[5] is unknown: choose none, or of kits19_issue6, "),
    ],
)
def test_a_setting_of_a_wrong_type_is_one_sentence_without_python(overrides, sentence):
    with pytest.raises(InstantiationException) as caught:
        check(*overrides)
    assert describe(caught.value, []).startswith(sentence)


@pytest.mark.parametrize(
    ("last", "beyond"),
    [
        ("seed=0", "seed=-1"),
        ("data.n_test=0", "data.n_test=-1"),
        ("data.n_train=1", "data.n_train=0"),
        ("trainer.devices=1", "trainer.devices=0"),
        ("trainer.devices=auto", "trainer.devices=all"),
        ("model.overlap=0", "model.overlap=-0.01"),
    ],
)
def test_a_range_ends_with_the_last_value_that_can_work(last, beyond):
    check(last)
    with pytest.raises(InputError, match=rf"^{beyond.partition('=')[0]}="):
        check(beyond)


CASCADE = "model=cascade_unet"


@pytest.mark.parametrize(
    ("overrides", "channels"),
    [
        ([], {"coarse": 1, "fine": 4}),  # the image, and kidney, tumor and cyst of the coarse stage
        (["model.cascade=false"], {"fine": 1}),
        (["model.prior=none"], {"coarse": 1, "fine": 1}),
        (["model.prior=out_of_fold"], {"coarse": 1, "fine": 4}),
        (["model.output=regions"], {"coarse": 1, "fine": 4}),
        (["view=patches", "model.roi=none"], {"coarse": 1, "fine": 4}),
        (["model.residual=false", "model.deep_supervision=false"], {"coarse": 1, "fine": 4}),
        (["model.from_coarse.labels=[kidney]"], {"coarse": 1, "fine": 2}),
        (["model.from_coarse.prior=none"], {"coarse": 1, "fine": 1}),
    ],
)
def test_the_switches_of_a_cascade_say_which_stages_it_has_and_what_they_see(overrides, channels):
    assert channels_of(check(CASCADE, *overrides)) == channels


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("model.prior=some", r"model\.prior=some is unknown: choose one of predicted, out_of_fold, reference, none\."),
        ("model.roi=some", r"model\.roi=some is unknown: choose one of reference, predicted, none\."),
        ("view=patches", r"The view PatchView has no box that could be laid about the earlier stage's prediction"),
        ("model.cascade=abc", r"^model\.cascade=abc is no switch: give true or false\.$"),
        ("model.residual=no", r"^model\.residual=no is no switch: give true or false\.$"),
        ("loss.batch=off", r"^loss\.batch=off is no switch: give true or false\.$"),
        ("model.prior_radius=[0,1]", r"^corrupt: radius_range=\[0, 1\] \(model\.prior_radius\) must be"),
        ("model.stages.coarse.enabled=false", "The stage fine takes from the stage coarse, which is not enabled"),
        ("model.coarse.roi_size=[15,16,16]", r"The network of the stage coarse cannot take"),
        ("scheduler.patience=abc", "The optimizer or scheduler of the stage coarse cannot be made"),
    ],
)
def test_a_cascade_that_cannot_work_is_one_sentence(override, sentence):
    with pytest.raises((InputError, InstantiationException, OmegaConfBaseException)) as caught:
        check(CASCADE, override)
    assert re.search(sentence, describe(caught.value, []))


ATTENTION_VNET = "model=attention_vnet"


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["loss=mask_rcnn"], "loss=mask_rcnn adds up what a detector loses by boxes, and this stage has none: choose"),
        (["loss.boundary_weight=nan"], "loss.boundary_weight=nan is no number: give one that is finite."),
        (["loss.boundary_weight=inf"], "loss.boundary_weight=inf is no number: give one that is finite."),
        (["loss.boundary_weight=abc"], "loss.boundary_weight=abc is no number"),
        (["loss.boundary_weight=null"], "loss.boundary_weight=None is no number"),
        (["loss.lambda_dice=abc"], "loss.lambda_dice=abc is no number"),
        (
            ["loss.lambda_dice=0", "loss.lambda_ce=0"],
            "loss.lambda_dice=0 and loss.lambda_ce=0 must not be negative, and",
        ),
        (["model.boundary_head_weight=abc"], "model.boundary_head_weight=abc is no number"),
        (["model.channel_threshold=abc"], "model.channel_threshold=abc is no number"),
        (["model.stem_stride=2"], "model.stem_stride=2 is no stride: write three whole numbers from 1 on."),
        (["model.channels=32"], "model.channels=32 is no V-Net: name the channels of two or more levels, whole"),
        (["model.base_channels=0"], "model.base_channels=0 is no count: give a whole number of at least 1."),
        (["model.base_channels=abc"], "model.base_channels=abc is no count: give a whole number of at least 1."),
        (["loss.weight=abc"], "loss.weight=abc must be a list of numbers over 0"),
        (["loss.weight=null"], "loss.weight=None must be a list of numbers over 0"),
        (
            ["loss.weight=[1,1]"],
            "loss.weight has 2 values, but the network 4 channels: give one weight for the backgro",
        ),
        (["scheduler.T_max=0"], "The optimizer or scheduler of the stage segmentation cannot be made (integer modulo"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_the_improved_v_net_cannot_take_is_one_sentence(overrides, sentence):
    with pytest.raises((InputError, InstantiationException, OmegaConfBaseException)) as caught:
        check(ATTENTION_VNET, *overrides)
    told = describe(caught.value, [])
    assert told.startswith(sentence)
    assert "Error in call" not in told
    assert "\n" not in told


def test_a_single_value_that_batch_normalisation_would_see_is_told():
    check("model=vnet", "model.roi_size=[16,16,16]", "model.batch_size=2")
    with pytest.raises(
        InputError, match=r"cannot be trained on batches of 1 with samples of \[16, 16, 16\] voxels \(Exp"
    ):
        check("model=vnet", "model.roi_size=[16,16,16]", "model.batch_size=1")


def test_an_unknown_prior_is_refused_even_without_the_cascade():
    with pytest.raises((InputError, OmegaConfBaseException, InstantiationException)) as caught:
        check(CASCADE, "model.cascade=false", "model.prior=foo")
    assert re.search(r"^model\.prior=foo is unknown: choose one of predicted,", describe(caught.value, []))


@pytest.mark.parametrize(
    "key", ["model.coarse", "model.cysts", "model.deep_supervision", "loss.difficulty", "loss.detach_difficulty"]
)
def test_a_switch_of_msalds_is_true_or_false(key):
    with pytest.raises((InputError, OmegaConfBaseException, InstantiationException)) as caught:
        check("model=msalds", f"{key}=no")
    assert describe(caught.value, []).startswith(f"{key}=no is no switch: give true or false.")


def test_a_spacing_that_is_none_is_told_as_one():
    with pytest.raises((InputError, InstantiationException)) as caught:
        check(CASCADE, "data.spacing=native")
    assert re.search(r"^The spacing is native, but must be three mm above 0 \(D, H, W\)", describe(caught.value, []))


def test_devices_are_counted_on_the_accelerator(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for devices in (2, -1, "auto", "[0,1]"):
        check_trainer(composed("trainer.accelerator=auto", f"trainer.devices={devices}"))
    with pytest.raises(InputError, match=r"trainer\.devices=3 is more than the 2 GPUs that are here"):
        check_trainer(composed("trainer.accelerator=gpu", "trainer.devices=3"))
    with pytest.raises(InputError, match=r"trainer\.devices=-1 is no number"):
        check_trainer(composed("trainer.accelerator=cpu", "trainer.devices=-1"))
