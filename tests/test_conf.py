"""Every option of every config group composes, and each distinct resolved configuration trains for one small epoch."""

import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.utils import get_method, instantiate
from omegaconf import OmegaConf

from kidney_lab.composition.config_hash import config_hash
from kidney_lab.composition.messages import USER_ERRORS, describe, to_plain
from kidney_lab.composition.resolvers import register_resolvers
from kidney_lab.composition.search_path import config_folder, register_experiments
from kidney_lab.methods.pipeline import check_order, enabled_stages
from kidney_lab.tasks.run_folder import RunFolder

GROUPS = sorted(folder.name for folder in config_folder().iterdir() if folder.is_dir() and folder.name != "hydra")
OPTIONS = [(group, path.stem) for group in GROUPS for path in sorted((config_folder() / group).glob("*.yaml"))]
MODELS = sorted(path.stem for path in (config_folder() / "model").glob("*.yaml"))
CASCADE, MSALDS, ERNET = "model=cascade_unet", "model=msalds", "model=ernet"
ATTENTION_VNET = "model=attention_vnet"
ENSEMBLE = "model=transfer_ensemble"
PLAIN_VNET = [ATTENTION_VNET, *(f"model.{part}=false" for part in ("fusion", "channel_attention", "spatial_attention"))]
REFUSED = [[f"view={view}"] for view in ("slices", "slice_rois")]
LOSSES_OF_OTHERS = ("difficulty", "difficulty_power", "mask_rcnn", "boundary_weighted", "class_weighted")
REFUSED += [[f"loss={loss}"] for loss in LOSSES_OF_OTHERS]
VALUES = [
    ["model.output=labels"],
    ["data.spacing=null"],
    ["trainer.accumulate_grad_batches=2"],
    [CASCADE, "model.cascade=false"],
    [CASCADE, "model.prior=none"],
    [CASCADE, "model.prior=reference"],
    [CASCADE, "model.prior=out_of_fold", "model.folds=2"],
    [CASCADE, "model.roi=predicted"],
    [CASCADE, "model.deep_supervision=false"],
    [CASCADE, "model.residual=false"],
    [CASCADE, "model.residual=false", "model.deep_supervision=false"],
    [CASCADE, "model.output=regions"],
    [CASCADE, "loss=dice_ce"],
    [CASCADE, "loss=dice_ce", "model.output=regions"],
    [CASCADE, "view.patch_size=null", "view.multiple=4"],
    [CASCADE, "model.checkpointing=true"],
    [CASCADE, "augment.device=gpu"],
    [MSALDS, "model.coarse=false"],
    [MSALDS, "model.cysts=false"],
    [MSALDS, "model.cysts=false", "model.coarse=false"],
    [MSALDS, "model.adversarial=last", "model.deep_supervision=false", "loss.difficulty=false"],
    [MSALDS, "model.adversarial=none", "loss.difficulty=false"],
    [MSALDS, "model.roi.train=predicted", "model.roi.mode=joint", "model.roi.source=resized"],
    [MSALDS, "model.discriminator.scale=native", "model.dilated=skips", "trainer.accumulate_grad_batches=2"],
    [MSALDS, "view.neighbours=1", "view.denoise=median", "view.quantize=true", "model.nesting=intersection"],
    [ERNET, "model.refit.enabled=false"],
    [ERNET, "model.refit.groups=kmeans", "model.refit.k=3", "model.mask_activation=softmax", "model.mask_roi_size=7"],
    [ERNET, "model.refit.groups=none", "model.roi.scale=inf", "view.neighbours=1", "model.norm=frozen_batch"],
    [ERNET, "model.heatmap.support=reference", "model.heatmap.pixels=reference", "model.heatmap.layer=conv5_mask"],
    [ERNET, "model.roi.scale=1.5", "model.roi.mask=true", "model.anchor_sizes=[[4],[8],[16],[32],[64]]"],
    ["model=res_unet", "view.size=null", "view.roi_size=[32,32]", "model.output=labels"],
    [ATTENTION_VNET, "model.boundary_head=true"],
    [ATTENTION_VNET, "model.boundary_head=true", "loss=dice_ce", "model.output=regions"],
    [ATTENTION_VNET, "model.attention_order=parallel", "model.channel_threshold=0", "model.stem_stride=[1,1,1]"],
    [ATTENTION_VNET, "model.mi=histogram", "model.mi_normalize=none", "model.mi_detach=false"],
    [ATTENTION_VNET, "intensity=attention_vnet", "model.mi_normalize=sum", "model.residual=false"],
    [*PLAIN_VNET, "model.shortcut=false", "loss=class_weighted"],
    [ATTENTION_VNET, "model.shortcut_join=beside"],
    ["model.output=labels", "loss=boundary_weighted"],
    ["model=rau_net", "view.neighbours=1", "model.output=labels"],
    ["model=difficulty_unet", "model.adversarial=none", "loss.difficulty=false"],
    ["model=difficulty_unet", "view.neighbours=1", "trainer.accumulate_grad_batches=2"],
    ["model=vox2vox", "model.bottleneck=dense", "trainer.accumulate_grad_batches=2"],
    ["model=vox2vox", "loss=dice_ce", "model.output=regions"],
    [ENSEMBLE, "model.members=[alexnet]", "model.decoder=linear", "model.finetune=head", "model.batch_norm=frozen"],
    [ENSEMBLE, "model.members=[tu-test_resnet]", "model.input=windows", "model.target=all", "view.quantize=true"],
    [ENSEMBLE, "model.members=[tu-test_resnet]", "model.freeze_epochs=1", "loss=bce", "view.denoise=bilateral"],
    [ENSEMBLE, "model.members=[tu-test_resnet]", "view.artefacts=body", "view.denoise=anisotropic"],
    ["model=segnet", "model.input=windows", "model.target=tumor"],
]


def composed(*overrides):
    register_resolvers()
    register_experiments()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return compose("config", overrides=list(overrides), return_hydra_config=True)


def resolved(*overrides):
    config = composed(*overrides)
    OmegaConf.set_readonly(config.hydra, False)
    config.hydra.runtime.output_dir = "out"  # which Hydra knows only while a job runs
    HydraConfig.instance().set_config(config)
    plain = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
    return to_plain(plain)


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=["=".join(pair) for pair in OPTIONS])
def test_every_option_composes_and_resolves(group, option):
    plain = resolved(f"{group}={option}")

    assert get_method(plain["task"]["_target_"])


def test_the_defaults_need_no_data_and_no_gpu():
    plain = resolved("logger=none")

    assert plain["data"]["name"] == "phantom"
    assert plain["preset"] == "small"
    assert plain["trainer"]["accelerator"] == "auto"
    assert plain["data"]["max_time"] == "00:00:04:00"


@pytest.mark.parametrize(
    ("overrides", "preset"),
    [
        (["data=phantom"], "small"),
        (["data=kits23"], "full"),
        (["data=phantom", "preset=full"], "full"),
        (["data=kits19", "trainer=smoke"], "smoke"),
        (["trainer=smoke", "preset=small"], "small"),
    ],
)
def test_the_preset_follows_data_and_trainer_unless_it_is_named(overrides, preset):
    plain = resolved(*overrides, "data.root=x", "logger=none")

    sizes = OmegaConf.load(config_folder() / "model" / "sizes" / "unet3d" / f"{preset}.yaml")
    assert plain["preset"] == preset
    assert plain["model"]["channels"] == sizes.channels


def test_the_spacing_of_the_data_wins_over_the_model_s():
    plain = resolved("data.spacing=[2,2,2]", "logger=none")

    assert plain["model"]["stages"]["segmentation"]["grid"]["spacing"] == [2, 2, 2]


def further_choices():
    """One option of a group each, and further values of settings: these take minutes together, and are slow."""
    for group, option in OPTIONS:
        # Sizes are the same configuration with other numbers; what needs another model is refused below.
        if group not in ("task", "logger", "data", "trainer", "preset") and [f"{group}={option}"] not in REFUSED:
            yield pytest.param([f"{group}={option}"], id=f"{group}={option}")
    for overrides in VALUES:
        yield pytest.param(overrides, id=" ".join(overrides), marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def smoke_store(tmp_path_factory):
    root = tmp_path_factory.mktemp("conf")
    dataset = instantiate(
        composed("trainer=smoke", f"data.root={root / 'data'}", "data.num_workers=0").data, _convert_="all"
    )
    return dataset, root


@pytest.fixture(scope="module")
def trained():
    """Configurations that have been trained: the default options of most groups are one and the same."""
    return {}


@pytest.mark.parametrize("overrides", further_choices())
def test_every_distinct_configuration_trains_for_an_epoch(overrides, smoke_store, trained, tmp_path):
    from kidney_lab.tasks.stages import StageTraining

    same = trained.setdefault(config_hash(resolved(*overrides, "trainer=smoke", "logger=none")), overrides)
    if same is not overrides:
        pytest.skip(f"the same as {' '.join(same)}")
    dataset, root = smoke_store
    paths = [f"data.root={root / 'data'}", f"prepare.root={root / 'stores'}", "prepare.workers=1"]
    config = composed(*overrides, *paths, "trainer=smoke", "logger=none", "trainer.max_epochs=1")
    run = RunFolder(tmp_path, {"stages": {}})

    StageTraining(run, config, dataset, device=torch.device("cpu"), precision="32-true").train()

    assert list(run.record["stages"]) == list(enabled_stages(config.model.stages))
    for result in run.record["stages"].values():
        assert (result["epochs"], result["steps"] > 0, result["parameters"] > 0) == (1, True, True)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["view=slices"], "gives 2D samples (SliceView), but the model's network takes 3D ones"),
        (["loss=difficulty"], "this stage has no discriminator: choose loss=dice_ce, or model=msalds"),
        ([ATTENTION_VNET, "loss=difficulty"], "this stage has no discriminator: choose loss=dice_ce, or model=msalds"),
        (
            ["loss=class_weighted"],
            "loss=class_weighted have a weight for each label, and regions overlap: set model.output=labels",
        ),
        ([ATTENTION_VNET, "model.output=regions"], "regions overlap: set model.output=labels, or choose loss=dice_ce"),
        (["loss=mask_rcnn"], "this stage has none: choose loss=dice_ce, or model=ernet"),
        ([ATTENTION_VNET, "loss=mask_rcnn"], "this stage has none: choose loss=dice_ce, or model=ernet"),
        (["model=res_unet", "view=slice_rois"], "this stage takes none: choose view=slices"),
        (["model=vox2vox", "loss=difficulty"], "judges patches: choose loss=generalized_dice, or model=msalds"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_what_does_not_fit_a_model_is_refused(overrides, message):
    config = composed(*overrides, "trainer=smoke", "logger=none")

    with pytest.raises(InstantiationException) as caught:
        instantiate(config.model.stages.segmentation, _convert_="all")
    assert message in describe(caught.value, [])


@pytest.mark.parametrize(
    ("overrides", "stages", "places"),
    [
        ([], ["coarse", "kidney", "mass", "tumor"], ["coarse", "coarse", "mass"]),
        (["model.coarse=false"], ["kidney", "mass", "tumor"], ["mass"]),
        (["data=kits19"], ["coarse", "kidney", "tumor"], ["coarse", "coarse"]),
        (["data=kits19", "model.coarse=false"], ["kidney", "tumor"], []),
    ],
)
def test_msalds_has_the_stages_that_its_settings_and_the_dataset_ask_for(overrides, stages, places):
    config = composed(MSALDS, *overrides, "data.root=x", "trainer=smoke", "logger=none")

    made = {name: instantiate(stage, _convert_="all") for name, stage in enabled_stages(config.model.stages).items()}
    check_order(made)

    assert list(made) == stages
    assert [stage.earlier.stage for stage in made.values() if stage.earlier is not None] == places
    assert set(instantiate(config.model.combination, _convert_="all").asks(list(stages))) <= set(stages)


@pytest.mark.parametrize("data", ["kits19", "kits21"])
def test_difficulty_unet_has_one_discriminator_that_sees_all_regions(data):
    config = composed("model=difficulty_unet", f"data={data}", "view.neighbours=1", "data.root=x", "logger=none")
    module = instantiate(config.model.stages.segmentation, _convert_="all").module

    (discriminator,) = module.discriminators.networks
    slices, masks = torch.zeros(1, 3, 32, 32), torch.zeros(1, len(config.data.regions), 32, 32)
    assert module.discriminators(0, slices, masks).shape == (1, 1, 32, 32)
    assert sum(p.numel() for p in discriminator.parameters()) < sum(p.numel() for p in module.network.parameters()) / 2
    assert module.loss.weight(torch.tensor([0.0, 0.5, 1.0])).tolist() == [1.0, 0.25, 0.0]
    assert module.loss.adversarial_weight == 0.05


def test_vox2vox_has_the_losses_the_optimizers_and_the_patches_of_its_authors():
    config = composed("model=vox2vox", "data=kits21", "data.root=x", "logger=none")
    with torch.device("meta"):
        stage = instantiate(config.model.stages.segmentation, _convert_="all")
    module = stage.module

    assert (stage.view.roi_size, stage.batch_size, config.trainer.max_epochs) == ([128, 128, 128], 4, 200)
    assert (type(module.loss).__name__, module.segmentation_weight) == ("GeneralizedDiceLoss", 5)
    assert module.adversarial_loss(torch.tensor([[-2.0, 3.0]]), True, True) == (9 + 4) / 2  # squares below 0 too
    rates = [(made["optimizer"].defaults["lr"], made["optimizer"].defaults["betas"]) for made in
             module.configure_optimizers()]  # fmt: skip
    assert rates == [(2e-4, (0.5, 0.999))] * 2
    convs = [one for one in module.discriminators.modules() if isinstance(one, torch.nn.Conv3d)]
    assert [(one.in_channels, one.stride[0]) for one in convs] == [(1 + 4, 2), (64, 2), (128, 2), (256, 1), (512, 1)]


@pytest.mark.parametrize(
    ("option", "epochs", "rates"),
    [
        ("step50", (0, 49, 50, 150), (1e-4, 1e-4, 1e-5, 1e-7)),
        ("eq6_literal", (0, 1, 3), (1e-4, 1e-5, 1e-7)),
        ("exp_total", (0, 100, 200), (1e-4, 10**-4.5, 1e-5)),
    ],
)
def test_the_readings_of_eq_6_of_msalds_give_their_rates(option, epochs, rates):
    config = composed(MSALDS, f"scheduler={option}", "data=kits21", "data.root=x", "logger=none")
    optimizer = instantiate(config.optimizer)([torch.nn.Parameter(torch.zeros(1))])
    scheduler = instantiate(config.scheduler)(optimizer)

    seen = []
    for _ in range(201):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()

    assert [seen[epoch] for epoch in epochs] == pytest.approx(rates)


def test_the_window_of_msalds_ends_at_black_and_white():
    intensity = instantiate(composed(MSALDS, "logger=none").intensity, _convert_="all")

    assert (255 * intensity(torch.tensor([-500.0, -130.0, 140.0, 410.0, 900.0]))).tolist() == [0, 0, 127.5, 255, 255]


def test_the_recipe_of_the_improved_v_net_is_its_paper_s():
    plain = resolved(ATTENTION_VNET, "data=kits19", "data.root=x", "logger=none")
    optimizer, scheduler, loss = plain["optimizer"], plain["scheduler"], plain["loss"]

    assert (optimizer["_target_"], optimizer["lr"], optimizer["weight_decay"]) == ("torch.optim.AdamW", 1e-4, 1e-5)
    assert (scheduler["_target_"], scheduler["T_max"]) == ("torch.optim.lr_scheduler.CosineAnnealingLR", 100)
    assert (loss["lambda_dice"], loss["lambda_ce"], loss["boundary_weight"]) == (0.6, 0.4, 2.5)
    assert loss["weight"] == [0.2, 0.8, 1.5]
    assert (plain["model"]["roi_size"], plain["model"]["batch_size"]) == ([64, 256, 256], 2)
    assert (plain["trainer"]["max_epochs"], plain["trainer"]["check_val_every_n_epoch"]) == (100, 10)
    assert (plain["callbacks"]["best"]["monitor"], plain["callbacks"]["best"]["mode"]) == ("val_case/mean_dice", "max")
    assert plain["intensity"]["window"] == [-150, 250]
    assert plain["augment"]["spatial"]["rotate_range"] == pytest.approx([torch.pi / 12, 0, 0], abs=1e-4)


@pytest.mark.parametrize(
    ("row", "added"),
    [
        ("+ fusion", {"model.fusion"}),
        ("+ channel", {"model.channel_attention"}),
        ("+ spatial", {"model.spatial_attention"}),
        ("+ fusion + both", {"model.fusion", "model.channel_attention", "model.spatial_attention"}),
        ("+ shortcut", {"model.shortcut"}),
        ("+ boundary", {"loss.boundary_weight"}),
    ],
)
def test_a_row_of_the_module_ablation_is_v_net_and_what_its_name_says(row, added):
    rows = OmegaConf.load(config_folder().parent / "experiments" / "attention_vnet" / "sec3_ablation.yaml").rows
    full, plain, one = (
        composed(*rows[name], "logger=none") for name in ("Improved V-Net", "extra: V-Net", f"extra: {row}")
    )
    parts = ("fusion", "channel_attention", "spatial_attention", "shortcut")
    keys = {"loss.boundary_weight", *(f"model.{part}" for part in parts)}

    assert {key for key in keys if OmegaConf.select(plain, key) != OmegaConf.select(full, key)} == keys
    assert {key for key in keys if OmegaConf.select(one, key) != OmegaConf.select(plain, key)} == added


def test_cysts_weigh_as_kidney_where_the_data_names_them():
    assert resolved(ATTENTION_VNET, "data=kits21", "data.root=x")["loss"]["weight"] == [0.2, 0.8, 1.5, 0.8]


@pytest.mark.parametrize(
    ("switch", "value"),
    [
        *((part, False) for part in ("fusion", "channel_attention", "spatial_attention", "shortcut", "residual")),
        *(("boundary_head", True), ("mi_detach", False), ("stem_stride", [1, 1, 1]), ("channel_threshold", 0.2)),
        *(("attention_order", "parallel"), ("mi", "histogram"), ("mi_normalize", "none")),
    ],
)
def test_every_setting_of_the_improved_v_net_reaches_its_network(switch, value):
    config = composed(ATTENTION_VNET, f"model.{switch}={value}", "logger=none")

    network = to_plain(config.model.stages.segmentation.module.network)
    default = to_plain(composed(ATTENTION_VNET, "logger=none").model.stages.segmentation.module.network)
    assert {key for key in network if network[key] != default[key]} == {switch}
    assert network[switch] == value


@pytest.mark.parametrize("preset", ["full", "small", "smoke"])
@pytest.mark.parametrize("model", MODELS)
def test_every_size_of_a_network_takes_a_window_of_its_own_size(model, preset):
    config = composed(f"model={model}", "data=kits23", f"preset={preset}", "data.root=x", "logger=none")
    for stage in config.model.stages.values():
        view, channels = stage.view, stage.module.network.get("in_channels", 1)
        window = stage.inferer.get("roi_size") or view.get("roi_size") or view.size
        with torch.device("meta"):
            network = instantiate(stage.module.network, _convert_="all").eval()
            found = network(torch.empty(1, channels, *window))
        output = instantiate(stage.module.output, _convert_="all")
        if isinstance(found, torch.Tensor):
            assert found.shape == (1, output.channels, *window)
        else:  # a detector's boxes, each with a mask of every region and of the background
            assert found[0]["mask_logits"].shape[1] == 1 + output.channels


@pytest.mark.parametrize("option", ["auto", "cpu", "gpu", "ddp", "smoke"])
def test_every_trainer_is_one_that_lightning_takes(option):
    config = composed(f"trainer={option}", "logger=none")
    wanted = {"accelerator": "cpu", "precision": "32-true", "devices": 1, "logger": False}
    trainer = instantiate(config.trainer, **wanted)

    assert isinstance(trainer, pl.Trainer)
    assert trainer.max_epochs == config.model.max_epochs


def test_the_recipe_of_the_transfer_ensemble_is_its_paper_s():
    plain = resolved(ENSEMBLE, "data=kits19", "data.root=x", "logger=none")
    model, optimizer = plain["model"], plain["optimizer"]

    assert list(model["stages"]) == ["resnet50", "vgg16", "inception_v3"]
    assert (optimizer["_target_"], optimizer["lr"], plain["trainer"]["max_epochs"]) == ("torch.optim.Adam", 1e-3, 100)
    assert plain["scheduler"]["factor"] == 1.0
    view = plain["view"]
    assert (view["size"], view["neighbours"], view["denoise"], view["artefacts"]) == ([256, 256], 1, "median", "clip")
    assert plain["augment"]["spatial"]["rotate90_prob"] == 0.5
    assert plain["postprocessing"] == {"keep": "all", "drop_detached_lesions": False}
    for encoder, stage in zip(["resnet50", "vgg16", "tu-inception_v3"], model["stages"].values(), strict=True):
        module = stage["module"]
        assert (stage["batch_size"], module["encoder"], module["network"]["encoder"]) == (16, encoder, encoder)
        assert (module["weights"], module["freeze_epochs"], module["encoder_lr"]) == ("imagenet", 5, 1e-4)
        assert module["output"]["regions"] == ["kidney_and_mass"]
        assert module["pixel_accuracy"] is True


def test_without_pretrained_weights_the_whole_network_learns_from_the_start():
    model = resolved(ENSEMBLE, "data=kits19", "data.root=x", "logger=none", "model.weights=none")["model"]

    assert (model["freeze_epochs"], model["encoder_lr"]) == (0, model["lr"])


def test_the_other_networks_of_its_table_have_the_ensemble_s_recipe():
    ours = resolved(ENSEMBLE, "data=kits19", "data.root=x", "logger=none")
    for name in ("segnet", "deeplabv3"):
        other = resolved(f"model={name}", "data=kits19", "data.root=x", "logger=none")
        for group in ("view", "loss", "augment", "intensity", "optimizer", "scheduler", "callbacks", "postprocessing"):
            assert other[group] == ours[group]
        theirs, member = other["model"]["stages"]["segmentation"], ours["model"]["stages"]["resnet50"]
        assert {key for key in member if member[key] != theirs[key]} == {"module"}
        differing = {key for key in member["module"] if member["module"][key] != theirs["module"][key]}
        assert differing <= {"encoder", "network"}


@pytest.mark.parametrize("preset", ["full", "small", "smoke"])
def test_rows_of_its_table_2_are_trained_alike_at_every_size(preset):
    file = config_folder().parent / "experiments" / "transfer_ensemble" / "table2.yaml"
    data = ["data=phantom", "data.root=x", "logger=none", f"preset={preset}"]
    table = OmegaConf.to_container(OmegaConf.load(file))  # as text: interpolations are the composed configuration's
    rows = {name: resolved("+experiments=transfer_ensemble/table2", *row, *data) for name, row in table["rows"].items()}
    ours = rows.pop("Proposed System")
    member = next(iter(ours["model"]["stages"].values()))

    assert list(rows) == ["SegNet", "U-Net", "DeepLabv3"]
    for other in rows.values():
        for group in ("view", "loss", "augment", "intensity", "optimizer", "scheduler", "callbacks", "postprocessing"):
            assert other[group] == ours[group]
        for setting in ("max_epochs", "check_val_every_n_epoch"):
            assert other["trainer"][setting] == ours["trainer"][setting]
        theirs = other["model"]["stages"]["segmentation"]
        assert (theirs["batch_size"], theirs["grid"]) == (member["batch_size"], member["grid"])
        assert theirs["module"]["output"]["regions"] == member["module"]["output"]["regions"]


@pytest.mark.parametrize(
    ("overrides", "channels"),
    [
        ([], 3),
        (["view.neighbours=0"], 1),
        (["model.input=windows"], 3),
        (["model.input=windows", "model.windows=[[-150,250],[-20,180]]"], 2),
    ],
)
def test_a_member_takes_the_channels_that_its_view_gives(overrides, channels):
    config = composed(ENSEMBLE, *overrides, "model.members=[tu-test_resnet]", "trainer=smoke", "logger=none")
    stage = instantiate(config.model.stages.test_resnet, _convert_="all")
    seen = stage.intensity(torch.tensor([100.0]).view(1, 1, 1).expand(stage.channels, 4, 4))

    assert stage.channels == config.model.in_channels == channels
    assert stage.module(torch.zeros(2, channels, 80, 80)).shape == (2, 1, 80, 80)
    shown = (100 - torch.tensor(config.intensity.windows)[:, 0]) / torch.tensor(config.intensity.windows).diff()[:, 0]
    torch.testing.assert_close(seen[:, 0, 0], shown.expand(channels))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["model.members=[resnet5]"],
            "The encoder resnet5 is unknown: choose resnet50, vgg16, tu-inception_v3, alexnet",
        ),
        (["model.members=[alexnet]"], "alexnet has no features for the skips of a U-Net: set model.decoder=linear"),
        (["model.decoder=fpn"], "model.decoder=fpn is unknown: choose one of unet, linear."),
        (["model.input=colours"], "model.input=colours is unknown: choose one of slices, windows."),
        (["model.target=liver"], "model.target=liver is unknown: choose one of kidney_and_mass, mass, tumor, or all."),
        (["model.members=[]"], "leave no member: name encoders, or the folders of finished runs."),
        (["model.weights=x.pth"], "model.weights=x.pth is one file for 3 encoders"),
        (["model.finetune=none"], "model.finetune=none is unknown: choose all or head."),
        (["loss=difficulty"], "this stage has no discriminator: choose loss=dice_ce, or model=msalds"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_settings_that_make_no_ensemble_are_refused(overrides, message):
    config = composed(ENSEMBLE, *overrides, "trainer=smoke", "logger=none")

    with pytest.raises(USER_ERRORS) as caught:
        [instantiate(stage, _convert_="all") for stage in config.model.stages.values()]
    assert message in describe(caught.value, [])


def test_the_turns_of_the_ensemble_s_augmentation_keep_image_and_mask_together():
    config = composed(ENSEMBLE, "preset=full", "augment.spatial.elastic_prob=0", "logger=none")
    augment = instantiate(config.augment, _convert_="all")
    corners = set()
    for seed in range(60):
        shape = augment.draw((16, 16), seed)
        mask = torch.zeros(1, *shape, dtype=torch.uint8)
        mask[0, :3, :5] = 1  # at a corner, and longer than wide

        turned = augment({"image": mask.float().repeat(3, 1, 1), "label": mask})

        assert torch.equal(turned["image"], turned["label"].float().repeat(3, 1, 1))
        rows, columns = turned["label"][0].nonzero().unbind(1)
        corners.add((int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())))
    # All four turns of the slice and of its mirror image.
    assert corners == {
        *((0, 2, 0, 4), (0, 2, 11, 15), (13, 15, 0, 4), (13, 15, 11, 15)),
        *((0, 4, 0, 2), (0, 4, 13, 15), (11, 15, 0, 2), (11, 15, 13, 15)),
    }
