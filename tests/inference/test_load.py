import json
import shutil

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

import kidney_lab
from kidney_lab.errors import InputError
from kidney_lab.export.bundle import export_bundle
from kidney_lab.inference.load import choose_device, load_method


def test_a_run_is_loaded_with_its_best_weights(run):
    method = load_method(run, "cpu")

    expected = torch.load(run / "stages" / "segmentation" / "best.ckpt", weights_only=True)["state_dict"]
    loaded = method.stages["segmentation"].module.state_dict()
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], value) for name, value in expected.items())
    assert (method.device, method.precision) == (torch.device("cpu"), "32-true")


def test_a_loaded_method_segments_and_always_alike(run):
    image = np.random.default_rng(0).integers(-200, 300, (18, 20, 22)).astype(np.int16)

    labels = [load_method(str(run), "cpu").segment(image, (3.0, 1.0, 1.0)) for _ in range(2)]

    assert labels[0].shape == image.shape
    assert set(np.unique(labels[0])) <= {0, 1, 2}
    np.testing.assert_array_equal(*labels)


def test_the_package_offers_it():
    assert kidney_lab.load_method is load_method


@pytest.mark.parametrize("missing", ["config.yaml", "run.json"])
def test_a_folder_that_is_no_run_is_refused_with_what_it_lacks(run, missing):
    (run / missing).unlink()

    with pytest.raises(InputError, match=rf"run=.*a run is no run folder: it has no {missing}"):
        load_method(run)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"run=.*nowhere is no run folder"):
        load_method(tmp_path / "nowhere")


def test_a_stage_without_a_checkpoint_is_refused_and_the_way_on_is_named(run):
    (run / "stages" / "segmentation" / "best.ckpt").unlink()

    with pytest.raises(
        InputError, match=r"has no stages/segmentation/best\.ckpt: finish its training by resume=.*a run"
    ):
        load_method(run)


class TestBundles:
    def test_a_bundle_is_its_run(self, run, tmp_path):
        bundle = export_bundle(run, tmp_path / "bundle", onnx=False)

        of_run, of_bundle = (load_method(path, "cpu") for path in (run, bundle))

        assert not list(bundle.rglob("*.ckpt"))
        expected = of_run.stages["segmentation"].module.state_dict()
        found = of_bundle.stages["segmentation"].module.state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], value) for name, value in expected.items())
        assert (of_bundle.precision, of_bundle.clean) == (of_run.precision, of_run.clean)

    def test_damaged_weights_are_told(self, run, tmp_path):
        bundle = export_bundle(run, tmp_path / "bundle", onnx=False)
        (bundle / "stages" / "segmentation" / "model.safetensors").write_bytes(b"x" * 20)

        with pytest.raises(InputError, match=r"model\.safetensors holds no readable weights"):
            load_method(bundle, "cpu")


class TestMembers:
    """Runs whose ensemble is of other runs."""

    @pytest.fixture
    def make_ensemble(self, tmp_path):
        def make(name, members, *, stages=None, **settings):
            folder = tmp_path / name
            folder.mkdir()
            combination = {"_target_": "kidney_lab.inference.ensemble.Ensemble", **settings}
            model = {"stages": stages or {}, "member_runs": [str(path) for path in members], "combination": combination}
            OmegaConf.save({"model": model, "postprocessing": {"keep": "all"}}, folder / "config.yaml")
            record = {"precision": "32-true", "status": "finished", "stages": {}}
            (folder / "run.json").write_text(json.dumps(record))
            return folder

        return make

    @pytest.fixture
    def member(self, run):
        record = {"precision": "32-true", "status": "finished", "stages": {"segmentation": {"best": {"epoch": 0}}}}
        (run / "run.json").write_text(json.dumps(record))
        return run

    def test_a_run_of_one_run_is_that_run_at_any_depth(self, member, make_ensemble):
        image = np.random.default_rng(0).integers(-200, 300, (18, 20, 22)).astype(np.int16)
        outer = make_ensemble("outer", [make_ensemble("inner", [member])])

        found, expected = (load_method(path, "cpu").segment(image, (3.0, 1.0, 1.0)) for path in (outer, member))

        np.testing.assert_array_equal(found, expected)
        assert expected.any()

    def test_stages_and_runs_are_members_together_and_keep_the_weights_that_they_were_given(
        self, member, make_ensemble
    ):
        stage = OmegaConf.load(member / "config.yaml").model.stages.segmentation
        folder = make_ensemble("both", [member], stages={"own": stage}, weights=[1, 3])
        shutil.copytree(member / "stages" / "segmentation", folder / "stages" / "own")

        method = load_method(folder, "cpu")

        assert list(method.stages) == ["own"]
        assert list(method.members) == ["1"]
        assert method.combination.weights == [1.0, 3.0]

    def test_members_are_weighed_by_what_their_trainings_recorded(self, member, make_ensemble):
        folder = make_ensemble("weighed", [member], weights="validation_dice")
        with pytest.raises(InputError, match="recorded none for the weights that it kept of its stage segmentation"):
            load_method(folder, "cpu")

        (member / "epochs.csv").write_text("stage,epoch,val_case/tumor_dice\nsegmentation,0,0.25\n")

        assert load_method(folder, "cpu").combination.weights == [0.25]

    def test_the_members_of_a_bundle_lie_in_it_and_go_wherever_it_goes(self, member, make_ensemble, tmp_path):
        bundle = make_ensemble("bundle", ["members/1"])
        export_bundle(member, bundle / "members" / "1", onnx=False)
        shutil.rmtree(member)

        method = load_method(bundle.rename(tmp_path / "elsewhere"), "cpu")

        assert list(method.members["1"].stages) == ["segmentation"]
        assert method.segment(np.zeros((18, 20, 22), np.int16), (3.0, 1.0, 1.0)).shape == (18, 20, 22)

    def test_weights_that_the_run_recorded_are_taken_whatever_its_members_record_since(self, member, make_ensemble):
        stage = OmegaConf.load(member / "config.yaml").model.stages.segmentation
        folder = make_ensemble("weighed", [member], stages={"own": stage}, weights="validation_dice")
        shutil.copytree(member / "stages" / "segmentation", folder / "stages" / "own")
        record = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps({**record, "member_weights": {"1": 0.75, "own": 0.5}}))

        assert load_method(folder, "cpu").combination.weights == [0.5, 0.75]

    def test_another_run_in_the_place_of_a_member_is_refused(self, member, make_ensemble):
        outer = make_ensemble("outer", [make_ensemble("inner", [member])])
        inner = outer.with_name("inner")

        def write(folder, **changes):
            record = json.loads((folder / "run.json").read_text())
            (folder / "run.json").write_text(json.dumps({**record, **changes}))

        write(inner, members={"1": {"config_hash": "abc"}})
        write(member, config_hash="abc")
        load_method(outer, "cpu")
        write(member, config_hash="def")
        with pytest.raises(
            InputError,
            match=r"inner was made of the member 1, .*a run, when its config_hash was abc, and now it is def: bring th",
        ):
            load_method(outer, "cpu")
        write(member, config_hash="abc", started="2026-02-02")
        write(inner, members={"1": {"config_hash": "abc", "started": "2026-01-01"}})
        with pytest.raises(InputError, match=r"when its started was 2026-01-01, and now it is 2026-02-02"):
            load_method(outer, "cpu")

    def test_a_member_that_has_moved_is_told_and_where_it_stands(self, member, make_ensemble):
        folder = make_ensemble("outer", [member])
        member.rename(member.with_name("elsewhere"))

        with pytest.raises(
            InputError, match=r"model\.member_runs in .*config\.yaml names .*a run, which is no run folder"
        ):
            load_method(folder, "cpu")


class TestStatistics:
    @pytest.fixture
    def normalised(self, run):
        """The run of a stage that normalises by the foreground of its training cases."""
        config = OmegaConf.load(run / "config.yaml")
        config.model.stages.segmentation.intensity = {
            "_target_": "kidney_lab.transforms.normalize.NormalizeForeground", "percentiles": [0.5, 99.5],
        }  # fmt: skip
        OmegaConf.save(config, run / "config.yaml")
        statistics = {"lower": -60.0, "upper": 250.0, "mean": 100.0, "std": 50.0, "n": 1000}
        (run / "stages" / "segmentation" / "intensity.json").write_text(json.dumps(statistics))
        return run

    def test_prediction_normalises_as_the_training_did_without_its_store(self, normalised):
        stage = load_method(normalised, "cpu").stages["segmentation"]

        seen = stage.intensity(torch.tensor([-1000.0, 0.0, 150.0, 1000.0]))

        assert seen.tolist() == pytest.approx([-3.2, -2.0, 1.0, 3.0])

    def test_it_is_refused_without_the_statistics(self, normalised):
        (normalised / "stages" / "segmentation" / "intensity.json").unlink()

        with pytest.raises(InputError, match=r"segmentation lacks a readable intensity\.json"):
            load_method(normalised)


class TestDevices:
    @pytest.mark.parametrize(("there", "chosen"), [(True, "cuda"), (False, "cpu")])
    def test_auto_is_a_gpu_if_there_is_one(self, monkeypatch, there, chosen):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: there)

        assert choose_device("auto") == torch.device(chosen)

    def test_a_device_that_is_named_is_taken(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

        assert choose_device("cpu") == torch.device("cpu")
        assert choose_device("cuda:0") == torch.device("cuda:0")

    @pytest.mark.parametrize("name", ["cuda", "cuda:1"])
    def test_a_gpu_that_is_not_there_is_refused(self, monkeypatch, name):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

        with pytest.raises(InputError, match=rf"device={name} is not there: .* choose device=cpu"):
            choose_device(name)

    @pytest.mark.parametrize("name", ["gpu", "CPU0", ""])
    def test_an_unknown_name_is_refused_with_the_choices(self, name):
        with pytest.raises(InputError, match=f"device={name} is unknown: choose auto, cpu or a GPU"):
            choose_device(name)


class TestSettings:
    def test_a_run_looks_at_scans_as_its_configuration_says_unless_it_is_told_otherwise(self, run):
        config = OmegaConf.load(run / "config.yaml")
        config.inference = {"mirror_axes": [1, 2]}
        OmegaConf.save(config, run / "config.yaml")

        assert list(load_method(run, "cpu").settings.mirror_axes) == [1, 2]
        other = load_method(run, "cpu", settings={"precision": "32-true"}).settings
        assert (list(other.mirror_axes), other.precision) == ([1, 2], "32-true")

    def test_the_runs_of_several_each_have_their_own(self, run):
        other = run.with_name("b")
        shutil.copytree(run, other)
        config = OmegaConf.load(run / "config.yaml")
        config.inference = {"mirror_axes": [1]}
        OmegaConf.save(config, run / "config.yaml")

        methods = load_method([run, other], "cpu").members

        assert [list(method.settings.mirror_axes) for method in methods.values()] == [[1], []]

    def test_what_is_given_is_for_all_runs_and_the_rest_is_each_ones_own(self, run):
        other = run.with_name("b")
        shutil.copytree(run, other)
        config = OmegaConf.load(run / "config.yaml")
        config.inference = {"mirror_axes": [1]}
        OmegaConf.save(config, run / "config.yaml")
        shutil.copytree(run, run.with_name("ensemble"))
        config.model.stages = {}
        config.model.member_runs = [str(run), str(other)]
        config.model.combination = {"_target_": "kidney_lab.inference.ensemble.Ensemble"}
        OmegaConf.save(config, run.with_name("ensemble") / "config.yaml")
        for folder in (run, other):
            record = json.loads((folder / "run.json").read_text()) | {"status": "finished"}
            (folder / "run.json").write_text(json.dumps(record))

        for paths in ([run, other], run.with_name("ensemble")):
            members = load_method(paths, "cpu", settings={"skip_air": False}).members.values()
            assert [(list(one.settings.mirror_axes), one.settings.skip_air) for one in members] == [
                ([1], False),
                ([], False),
            ]

    def test_settings_that_are_none_are_told(self, run):
        config = OmegaConf.load(run / "config.yaml")
        config.inference = {"mirror": [1]}
        OmegaConf.save(config, run / "config.yaml")

        with pytest.raises(
            InputError, match=r"config\.yaml has settings in inference that this version does not know \(.*'mirror'\)"
        ):
            load_method(run, "cpu")
