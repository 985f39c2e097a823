import pytest
from omegaconf import OmegaConf

from kidney_lab.composition.members import default_members, member_stages, stage_name, target_regions
from kidney_lab.composition.resolvers import register_resolvers
from kidney_lab.errors import InputError


def composed(**model):
    """A configuration like that of the ensemble; its template takes values from elsewhere, and its network by name."""
    register_resolvers()
    config = OmegaConf.create(
        {
            "lr": 0.1,
            "model": {
                "members": ["resnet50", "tu-inception_v3"],
                "runs": [],
                "weights": "none",
                "stages": "${member_stages:${model.members},${model.runs},${model.weights},${model.member}}",
                "member": {"module": {"encoder": None, "weights": None, "lr": "${lr}", "network": "${model.unet}"}},
                "unet": {"encoder": None, "lr": "${lr}"},
                **model,
            },
        }
    )
    OmegaConf.set_struct(config, True)
    return config


def stages(**model):
    plain = OmegaConf.to_container(composed(**model), resolve=True)
    return plain["model"]["stages"]


def test_every_member_is_a_stage_named_after_its_encoder():
    made = stages()

    assert list(made) == ["resnet50", "inception_v3"]
    for name, encoder in zip(made, ["resnet50", "tu-inception_v3"], strict=True):
        network = {"encoder": encoder, "lr": 0.1}
        assert made[name] == {"module": {"encoder": encoder, "weights": "none", "lr": 0.1, "network": network}}


def test_the_template_stays_as_it_is():
    config = composed()

    assert config.model.stages.resnet50.module.encoder == "resnet50"
    assert config.model.member.module.encoder is None
    assert config.model.unet.encoder is None


def test_any_encoder_can_be_named():
    assert list(stages(members=["tu-resnet50.a1_in1k"])) == ["resnet50_a1_in1k"]
    assert stage_name("vgg16") == "vgg16"


@pytest.mark.parametrize("name", ["tu-inception_v3", "inception_v3"])
def test_weights_are_one_choice_for_all_or_one_for_each(name):
    assert {stage["module"]["weights"] for stage in stages(weights="imagenet").values()} == {"imagenet"}
    made = stages(weights={name: "a.pth", "resnet50": "none"})
    assert {key: stage["module"]["weights"] for key, stage in made.items()} == {
        "resnet50": "none",
        "inception_v3": "a.pth",
    }
    assert stages(members=["vgg16"], weights="b.pth")["vgg16"]["module"]["weights"] == "b.pth"


def test_finished_runs_stand_in_for_the_encoders_and_beside_them():
    assert default_members([], ["resnet50"]) == ["resnet50"]
    assert default_members(["runs/a"], ["resnet50"]) == []
    for wrong in ("vgg16", None):
        with pytest.raises(
            InputError, match=rf"^model\.encoders={wrong} is no list: give encoders in brackets, such as"
        ):
            default_members([], wrong)
    assert stages(members=[], runs=["runs/a"]) == {}
    assert list(stages(members=["vgg16"], runs=["runs/a"])) == ["vgg16"]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"members": "vgg16"}, r"model\.members=vgg16 is no list: give encoders in brackets"),
        ({"members": []}, r"model\.members=\[\] and model\.member_runs=\[\] leave no member: name encoders, or"),
        ({"members": ["vgg16", "vgg16"]}, r"model\.members names vgg16 twice: train one run for each seed"),
        ({"members": ["resnet50", "tu-resnet50"]}, r"model\.members names resnet50 twice"),
        ({"weights": "a.pth"}, r"weights=a\.pth is one file for 2 encoders: give one for each, model\.weights=\{resn"),
        ({"weights": {"resnet50": "a"}}, r"model\.weights has nothing for tu-inception_v3: give none, imagenet or a"),
        (
            {"members": ["vgg16"], "weights": {"vgg16": "a", "vgg19": "b"}},
            r"model\.weights names vgg19, which is no member: give",
        ),
    ],
)
def test_what_makes_no_ensemble_is_refused(model, message):
    config = composed(**model).model
    with pytest.raises(InputError, match=message):
        member_stages(config.members, config.runs, config.weights, config.member)


def test_the_target_is_a_region_of_the_data_or_all():
    regions = ["kidney_and_mass", "tumor"]

    assert target_regions("tumor", regions) == ["tumor"]
    assert target_regions("all", regions) == regions
    with pytest.raises(
        InputError, match=r"model\.target=mass is unknown: choose one of kidney_and_mass, tumor, or all"
    ):
        target_regions("mass", regions)
