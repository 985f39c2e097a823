import re
import sys

import pytest
from hydra.utils import get_object
from omegaconf import OmegaConf

from kidney_lab.composition import allowlist
from kidney_lab.composition.allowlist import NAMED, check_target, locate, named_in, read_trust, refuse_untrusted
from kidney_lab.composition.search_path import config_folder
from kidney_lab.errors import InputError

CODE = '" + str(getattr(__import__("os"), "system")("true")) + "'
"""What torch.fx would run as the name of a module."""

METHOD_GROUPS = ("augment", "intensity", "loss", "model", "optimizer", "scheduler", "view")
"""What ends in `model.stages`; other groups (data, trainer, callbacks …) are never instantiated from a run."""


def targets_in_conf():
    files = [file for group in METHOD_GROUPS for file in (config_folder() / group).rglob("*.yaml")]
    return sorted({name for file in files for name in re.findall(r"_target_:\s*([\w.]+)", file.read_text())})


def config_of(network, **others):
    return OmegaConf.create({"model": {"stages": {"only": {"module": {"network": network}}}}, **others})


class TestWhatConfNames:
    @pytest.mark.parametrize("name", targets_in_conf())
    def test_it_is_allowed(self, name):
        check_target(name, "conf calls it")

    def test_it_is_followed_to_the_object_that_hydra_calls(self):
        names = targets_in_conf()

        assert len(names) > 50
        assert all(locate(name) is get_object(name) for name in names)

    def test_single_things_of_this_project_are_those_that_are_needed(self, monkeypatch):
        monkeypatch.setattr(allowlist, "NAMED", ())
        packages = tuple(f"{package}." for package in allowlist.OWN)
        functions = [
            name for name in targets_in_conf() if name.startswith(packages) and name[name.rfind(".") + 1].islower()
        ]
        others = [
            name for name in targets_in_conf() if name.startswith("kidney_lab.") and not name.startswith(packages)
        ]

        assert sorted(NAMED) == sorted(functions + others)


@pytest.mark.parametrize(
    "name",
    [
        "torch.nn.Conv3d",
        "torch.optim.Adafactor",  # its own module is torch.optim._adafactor
        "torch.optim.lr_scheduler.OneCycleLR",
        "monai.networks.nets.DynUNet",
        "monai.networks.nets.resnet10",
        "monai.networks.nets.Unet",  # another name of UNet
        "monai.losses.TverskyLoss",
        "monai.transforms.RandFlipd",
        "monai.inferers.SliceInferer",
        "torchvision.models.resnet18",
        "torchvision.models.detection.maskrcnn_resnet50_fpn",
        "torchvision.ops.FrozenBatchNorm2d",
        "timm.models.resnet18",
        "segmentation_models_pytorch.Unet",
        "kidney_lab.methods.output.LabelOutput",
    ],
)
def test_parts_of_methods_are_allowed(name):
    check_target(name, "a run calls it")


@pytest.mark.parametrize(
    "name",
    [
        # a package's name is no boundary
        "torch.hub.load",
        "torch.hub.load_state_dict_from_url",
        "torch.utils.cpp_extension.load_inline",
        "torch.load",
        "torch.serialization.load",
        "torch.jit.load",
        "monai.bundle.ConfigParser",
        "monai.data.PILReader",
        "torchvision.io.read_file",
        "timm.layers.Format",
        # what Python itself gives
        "os.system",
        "subprocess.Popen",
        "builtins.eval",
        "builtins.__import__",
        "pathlib.Path",
        "functools.partial",
        "importlib.import_module",
        "pickle.loads",
        # what composes, of others
        "hydra.utils.instantiate",
        "hydra.utils.call",
        "hydra.utils.get_method",
        "omegaconf.OmegaConf.create",
        # modules that allowed modules have imported
        "torch.nn.modules.module.torch.hub.load",
        "torch.nn.functional.importlib.import_module",
        "torch.nn.functional.torch.load",
        "torch.nn.modules.module.functools.partial",
        "monai.transforms.io.array.sys.exit",
        "kidney_lab.methods.fit.shutil.rmtree",
        "kidney_lab.methods.fit.instantiate",
        "kidney_lab.methods.stage.json.loads",
        "kidney_lab.networks.weight_files.torch.load",
        # and what these hold
        "torch.nn.Module.load_state_dict",
        "torch.nn.Module.__setattr__",
        "torch.nn.Module.__class__",
        "torch.nn.modules.module.Module.__init__.__globals__",
        "torch.nn.modules.module.Module.__init__.__builtins__.eval",
        "torch.nn.functional.__builtins__",
        "segmentation_models_pytorch.Unet.from_pretrained",
        # functions that build no network, and parts of this project that are of no method
        "monai.transforms.apply_transform",
        "monai.networks.utils.save_state",
        "torch.nn.functional.relu",
        "timm.models.repghost.repghost_model_convert",
        "kidney_lab.files.replacing",
        "kidney_lab.methods.fit.fit_stage",
        "kidney_lab.networks.weight_files.read_weights",
        "kidney_lab.tasks.train.train",
        "kidney_lab.load_method",
        # parts of allowed packages that call or write what their arguments name
        "monai.transforms.LoadImage",
        "monai.transforms.SaveImaged",
        "monai.transforms.SaveClassificationd",
        "monai.inferers.PatchInferer",
        "monai.inferers.ZarrAvgMerger",
        "monai.losses.PerceptualLoss",
        "monai.networks.trt_compiler.trt_compile",
        # what makes or takes networks by torch.fx, which writes names of modules into the code that it runs
        "torch.fx.GraphModule",
        "torch.nn.ModuleDict",
        "torch.nn.ParameterDict",
        "torchvision.models.feature_extraction.create_feature_extractor",
        "torchvision.models.feature_extraction.DualGraphModule",
        "torchvision.models._utils.IntermediateLayerGetter",
        "timm.models._features_fx.FeatureGraphNet",
        "timm.models._features_fx.GraphExtractNet",
        "timm.models.create_model",
        "timm.models.FeatureGraphNet",
        "monai.networks.nets.NetAdapter",
        "monai.networks.nets.TorchVisionFCModel",
        # what builds, downloads or calls what its arguments say
        "monai.networks.layers.gmm.GaussianMixtureModel",
        "monai.networks.layers.GaussianMixtureModel",
        "monai.networks.nets.HoVerNet",
        "monai.networks.nets.HoverNet",
        "monai.networks.nets.hovernet.HoVerNet",
        "monai.networks.nets.Transchex",
        "monai.networks.nets.MILModel",
        "monai.networks.nets.cell_sam_wrapper.CellSamWrapper",
        "monai.networks.blocks.text_embedding.TextEncoding",
        "monai.transforms.TorchVision",
        "monai.transforms.Lambda",
        "segmentation_models_pytorch.create_model",
        "segmentation_models_pytorch.from_pretrained",
        "segmentation_models_pytorch.datasets.OxfordPetDataset",
        "segmentation_models_pytorch.datasets.oxford_pet.OxfordPetDataset",
        # what is public has one name, and is one kind of thing
        "torch.nn.modules.conv.Conv3d",
        "torch.nn.Parameter",
        "torch.optim.lr_scheduler.Counter",
        "torchvision.models.get_model",
        "torchvision.models.resnet.ResNet",
        "timm.models.list_models",
        "kidney_lab.networks.vox2vox.Convolution",
        # no names
        "",
        "torch",
        "torch.nn",
        "torch.nn.",
        "torch.nn..Conv3d",
        ".torch.nn.Conv3d",
        "torch/nn/Conv3d",
        "???",
    ],
)
def test_anything_else_is_refused(name):
    with pytest.raises(InputError, match=r"^a run calls it, which is (no part of methods that is known|not there \()"):
        check_target(name, "a run calls it")


@pytest.mark.parametrize("name", ["antigravity.geohash", "this.s", "torch.nn.antigravity.geohash", "idlelib.run.main"])
def test_nothing_that_is_not_allowed_is_imported(name):
    before = set(sys.modules)

    with pytest.raises(InputError):
        check_target(name, "a run calls it")

    assert not {"antigravity", "this", "idlelib", "idlelib.run"} & (set(sys.modules) - before)


def test_what_is_not_installed_is_told():
    with pytest.raises(
        InputError, match=r"which is not there \(.*NoSuchNet.*\): install what the run was trained with"
    ):
        check_target("monai.networks.nets.NoSuchNet", "a run calls it")


class TestConfigurations:
    @pytest.mark.parametrize(
        ("network", "key"),
        [
            ({"_target_": "os.system", "command": "true"}, "network._target_"),
            ({"_target_": "os.system", "_partial_": True}, "network._target_"),
            ({"_target_": "torch.nn.Sequential", "_args_": [{"_target_": "os.abort"}]}, "network._args_.0._target_"),
            ({"_target_": "torch.nn.ReLU", "_recursive_": False, "x": {"_target_": "os.abort"}}, "network.x._target_"),
            ([[{"a": {"_target_": "os.abort"}}]], "network.0.0.a._target_"),
            ({"_target_": ["os.abort"]}, "network._target_"),
            ({"_target_": {"_target_": "torch.nn.Identity"}}, "network._target_"),
            ({"_target_": None}, "network._target_"),
        ],
    )  # fmt: skip
    def test_every_target_is_found_and_named_with_its_key(self, network, key):
        with pytest.raises(
            InputError, match=rf"^x/config\.yaml calls model\.stages\.only\.module\.{re.escape(key)}=.*, which"
        ):
            refuse_untrusted(config_of(network), "x/config.yaml")

    def test_names_of_modules_that_torch_fx_would_run_are_refused(self):
        evil = {CODE: {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": 3, "kernel_size": 1}}
        modules = {"_target_": "torch.nn.ModuleDict", "modules": evil}
        getter = {"_target_": "torchvision.models._utils.IntermediateLayerGetter", "model": modules}
        extract = "torchvision.models.feature_extraction.create_feature_extractor"
        config = config_of({"_target_": extract, "model": getter, "return_nodes": ["b"]})

        with pytest.raises(
            InputError, match=rf"calls model\.stages\..*_target_={extract}, which is no part of methods"
        ):
            refuse_untrusted(config, "config.yaml")

    @pytest.mark.parametrize("key", [CODE, "a\nb", "a/b", "a'b", "pretrained_cfg", "feature_cls", "pretrained_url"])
    @pytest.mark.parametrize("place", [lambda it: it, lambda it: {"x": [it]}])
    def test_keys_that_are_more_than_names_are_refused(self, key, place):
        config = config_of({"_target_": "torch.nn.Sequential", **place({key: 1})})

        with pytest.raises(
            InputError,
            match=r"^config\.yaml gives torch\.nn\.Sequential the key .* in model\.stages\.only\..*, and keys are",
        ):
            refuse_untrusted(config, "config.yaml")
        refuse_untrusted(config, "config.yaml", ["torch.nn.Sequential"])

    @pytest.mark.parametrize(
        "value",
        [
            "http://a.b/c",
            "FTP://a",
            "hf-hub:a/b",
            "tu-hf-hub:a/b",
            "HF_hub:a/b",
            "h\tf-hub:a/b",
            "local-dir:/a",
            b"s3://a",
        ],
    )
    def test_addresses_to_load_from_are_refused(self, value):
        unet = "segmentation_models_pytorch.Unet"
        config = config_of({"_target_": unet, "x": [{"encoder_name": value}]})

        with pytest.raises(
            InputError,
            match=rf"gives {unet} an address to load from, model\.stages.*\.x\.0\.encoder_name=.* add trust=",
        ):
            refuse_untrusted(config, "config.yaml")
        refuse_untrusted(config, "config.yaml", [unet])

    def test_what_is_trusted_does_not_free_what_it_is_given(self):
        inner = {"_target_": "torch.nn.Identity", "x": "hf-hub:a/b"}
        config = config_of({"_target_": "torch.nn.Sequential", "_args_": [inner], "y": "hf-hub:a/b"})

        with pytest.raises(InputError, match=r"gives torch\.nn\.Identity an address"):
            refuse_untrusted(config, "config.yaml", ["torch.nn.Sequential"])

    def test_keys_and_values_of_conf_are_free(self):
        for file in (file for group in METHOD_GROUPS for file in (config_folder() / group).rglob("*.yaml")):
            node = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
            node.pop("defaults", None)  # Hydra's own
            allowlist._check_given({"_target_": "torch.nn.Identity", "x": node}, "model", file, ())

    def test_stages_that_are_not_enabled_and_combinations_are_checked_too(self):
        for part in (
            {"stages": {"a": {"enabled": False, "x": {"_target_": "os.abort"}}}},
            {"combination": {"_target_": "os.abort"}},
        ):
            with pytest.raises(InputError, match=r"os\.abort, which is no part"):
                refuse_untrusted(OmegaConf.create({"model": part}), "config.yaml")

    def test_what_is_never_instantiated_from_a_run_is_free(self):
        refuse_untrusted(config_of({}, logger={"_target_": "my_lab.Logger"}), "config.yaml")

    @pytest.mark.parametrize(
        "value", ["${oc.env:HOME}", "${oc.decode:x}", "${seed}", "a${seed}b", "${config_groups:x}", r"\${seed}"]
    )
    @pytest.mark.parametrize("target", [True, False])
    def test_values_that_are_made_when_they_are_used_are_refused_everywhere(self, value, target):
        config = config_of({"_target_": value}) if target else config_of({}, data={"root": [value]}, seed=1)

        with pytest.raises(
            InputError, match=r"^config\.yaml holds the interpolation .*=.*, and trainings store values"
        ):
            refuse_untrusted(config, "config.yaml")


class TestTrust:
    @pytest.fixture
    def package(self, tmp_path, monkeypatch):
        """`my_lab.nets.net.Net`, which `my_lab.nets` shows, beside `my_lab.other`."""
        (tmp_path / "my_lab" / "nets").mkdir(parents=True)
        (tmp_path / "my_lab" / "__init__.py").write_text("import os\n")
        (tmp_path / "my_lab" / "nets" / "__init__.py").write_text("from my_lab.nets.net import Net, build\n")
        (tmp_path / "my_lab" / "nets" / "net.py").write_text("class Net: ...\ndef build(): return Net()\n")
        (tmp_path / "my_lab" / "other.py").write_text("def other(): ...\n")
        monkeypatch.syspath_prepend(tmp_path)
        yield
        for name in [name for name in sys.modules if name.split(".")[0] == "my_lab"]:
            del sys.modules[name]

    @pytest.mark.parametrize("trust", ["my_lab", "my_lab.nets", "my_lab.nets.Net"])
    def test_a_name_and_what_lies_below_it_may_be_called(self, package, trust):
        check_target("my_lab.nets.Net", "a run calls it", [trust])

    def test_functions_of_a_trusted_package_may_be_called_whatever_they_return(self, package):
        check_target("my_lab.nets.build", "a run calls it", ["my_lab.nets"])

    @pytest.mark.parametrize(
        ("name", "trust"),
        [
            ("my_lab.nets.Net", []),
            ("my_lab.nets.Net", ["my_lab.nets.net.Network", "my_lab.net", "my"]),
            ("my_lab.other.other", ["my_lab.nets"]),
            ("my_lab.os.system", ["my_lab"]),
            ("my_lab.nets", ["my_lab"]),
        ],
    )
    def test_nothing_else_may(self, package, name, trust):
        with pytest.raises(InputError, match=rf"add trust=\[{name}\]"):
            check_target(name, "a run calls it", trust)

    def test_without_it_the_package_is_not_even_imported(self, package):
        with pytest.raises(InputError):
            check_target("my_lab.nets.Net", "a run calls it")

        assert "my_lab" not in sys.modules

    def test_what_the_list_leaves_out_may_be_trusted_by_the_name_that_the_message_gives(self):
        check_target("monai.losses.PerceptualLoss", "a run calls it", ["monai.losses.PerceptualLoss"])

    def test_what_somebody_composed_themselves_is_what_they_trust(self):
        config = config_of({"_target_": "my_lab.Net", "x": [{"_target_": "torch.nn.ReLU"}]})

        assert sorted(named_in(config)) == ["my_lab.Net", "torch.nn.ReLU"]

    @pytest.mark.parametrize(
        ("given", "names"),
        [
            (None, ()),
            ((), ()),
            ("my_lab", ("my_lab",)),
            (["a.b", "c"], ("a.b", "c")),
            (OmegaConf.create(["a.b"]), ("a.b",)),
        ],
    )
    def test_names_are_given_as_a_list_or_as_one(self, given, names):
        assert read_trust(given) == names

    @pytest.mark.parametrize("given", [[1], 3, True, [""], ["a b"], ["a."], "", {"a": "b"}])
    def test_anything_else_is_no_list_of_names(self, given):
        with pytest.raises(
            InputError, match=r"^trust=.* is no list of names in Python: write trust=\[my_lab\.networks\]"
        ):
            read_trust(given)
