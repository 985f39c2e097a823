import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from omegaconf import OmegaConf

from kidney_lab.data.nifti import read_volume
from kidney_lab.data.splits import Split
from kidney_lab.errors import InputError
from kidney_lab.inference.member_runs import read_members
from kidney_lab.tasks.members import (
    check_members,
    describe_members,
    record_members,
    record_weights,
    settle_member_runs,
)
from kidney_lab.tasks.run_folder import RunFolder

ENSEMBLE = {"_target_": "kidney_lab.inference.ensemble.Ensemble"}
TWO_KIDNEYS = {"keep": "two_kidneys", "drop_detached_lesions": True}
ALL = {"keep": "all", "drop_detached_lesions": False}
SPLIT = Split(train=("case_00000", "case_00001"), val=("case_00002",), test=("case_00003", "case_00004"))


def stage(*regions):
    output = {"_target_": "kidney_lab.methods.output.RegionOutput", "labels": ["kidney"], "regions": [*regions]}
    return {"module": {"output": output}}


@pytest.fixture
def make_run(tmp_path):
    """Writes a finished run as far as another one looks at it."""

    def make(
        name="member",
        *,
        stages=None,
        made=None,
        postprocessing=TWO_KIDNEYS,
        train=SPLIT.train,
        val=SPLIT.val,
        test=SPLIT.test,
        **model,
    ):
        folder = tmp_path / name
        folder.mkdir()
        stages = {"only": stage("kidney_and_mass")} if stages is None else stages
        config = {"model": {"stages": stages, **model}, "data": {"make": made}, "postprocessing": postprocessing}
        OmegaConf.save(config, folder / "config.yaml")
        record = {"name": f"model-{name}", "seed": 3, "commit": "abc", "config_hash": "def", "started": "then"}
        costs = {key: {"parameters": 10, "flops": 100, "best": {"epoch": 0}} for key in stages}
        (folder / "run.json").write_text(json.dumps({**record, "status": "finished", "stages": costs}))
        (folder / "split.json").write_text(json.dumps({"train": train, "val": val, "test": test}))
        return folder

    return make


def config_of(*runs, combination=ENSEMBLE, **model):
    paths = [str(run) for run in runs]
    whole = {"stages": {}, "member_runs": paths, "combination": combination, "postprocessing": ALL, **model}
    return OmegaConf.create({"model": whole, "postprocessing": ALL})


def dataset(split=SPLIT, *, regions=("kidney_and_mass", "tumor"), make=None):
    return SimpleNamespace(name="kits19", split=split, regions=regions, make=make)


def test_a_finished_run_of_the_same_split_may_be_a_member(make_run):
    run = make_run()

    assert check_members(config_of(run), dataset())["1"].path == run
    assert check_members(OmegaConf.create({"model": {"stages": {}}}), dataset()) == {}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"train": ["case_00000", "case_00004"]},
            "member, which was trained on case_00004, and this run's test scores th",
        ),
        (
            {"train": ["case_00009"], "val": ["case_00003", "case_00004"]},
            "was chosen by case_00003, case_00004, and this",
        ),
    ],
)
def test_a_run_that_has_seen_test_cases_is_refused_with_their_names(make_run, parts, message):
    run = make_run(**parts)

    with pytest.raises(InputError, match=message):
        check_members(config_of(run), dataset())


def test_a_member_of_a_member_that_has_seen_test_cases_is_refused_too(make_run):
    inner = make_run("inner", train=["case_00003"])
    outer = make_run("outer", stages={}, member_runs=[str(inner)], combination=ENSEMBLE, train=["case_00003"])

    with pytest.raises(InputError, match="inner, which was trained on case_00003"):
        check_members(config_of(outer), dataset())


def test_other_folds_of_the_same_test_are_no_fault(make_run):
    run = make_run(train=("case_00000", "case_00002"), val=("case_00001",))

    check_members(config_of(run), dataset())


def test_without_test_cases_members_may_be_chosen_by_what_is_scored_and_not_trained_on_it(make_run):
    without = Split(train=SPLIT.train, val=SPLIT.val, test=())

    check_members(config_of(make_run("same")), dataset(without))
    with pytest.raises(InputError, match="trained on case_00002, and this run's validation scores them"):
        check_members(config_of(make_run("other", train=("case_00002",), val=("case_00000",))), dataset(without))


def test_the_phantom_s_cases_are_others_than_kits_s(make_run):
    run = make_run(made={"_target_": "somewhere"}, train=SPLIT.test)

    check_members(config_of(run), dataset())
    with pytest.raises(InputError, match="trained on case_00003, case_00004"):
        check_members(config_of(run), dataset(make=object()))


def test_a_run_that_predicts_nothing_that_is_scored_is_refused(make_run):
    run = make_run(stages={"only": stage("mass")})

    with pytest.raises(InputError, match="which predicts mass, and data=kits19 is scored by kidney_and_mass, tumor: "):
        check_members(config_of(run), dataset())


def test_a_run_without_validation_cannot_be_weighed_by_it(make_run):
    run = make_run()
    combination = {**ENSEMBLE, "weights": "validation_dice"}

    with pytest.raises(InputError, match="recorded none for the weights that it kept of its stage only"):
        check_members(config_of(run, combination=combination), dataset())


def test_only_an_ensemble_reads_member_runs(make_run):
    with pytest.raises(
        InputError, match=r"model\.combination is LastStage: choose model=transfer_ensemble, or leave it"
    ):
        check_members(config_of(make_run(), combination=None), dataset())


def test_paths_are_made_absolute_from_where_the_run_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = config_of("runs/a", "/elsewhere/b", "~/c", stages={"own": stage("tumor")})
    OmegaConf.set_struct(config, True)

    settle_member_runs(config)

    assert list(config.model.member_runs) == [str(tmp_path / "runs/a"), "/elsewhere/b", str(Path.home() / "c")]


class TestPostProcessing:
    """Of an ensemble of finished runs, which the model leaves as it is."""

    def settled(self, *runs, **changes):
        open_ = {key: f"${{model.postprocessing.{key}}}" for key in ALL}
        config = config_of(*runs, **changes.pop("model", {}))
        config.postprocessing = {**open_, **changes}
        OmegaConf.set_struct(config, True)
        settle_member_runs(config)
        return config

    def test_it_is_that_of_the_members_where_all_have_the_same(self, make_run):
        assert self.settled(make_run("a"), make_run("b")).postprocessing == TWO_KIDNEYS
        largest = make_run("c", postprocessing={**TWO_KIDNEYS, "keep": "largest"})
        assert self.settled(largest).postprocessing.keep == "largest"

    def test_what_the_user_chose_and_what_stages_are_trained_for_stays(self, make_run):
        run = make_run()

        assert self.settled(run, keep="all").postprocessing == ALL
        assert self.settled(run, drop_detached_lesions=False).postprocessing == ALL
        assert self.settled(run, model={"stages": {"own": stage("tumor")}}).postprocessing == ALL

    @pytest.mark.parametrize(("other", "n_told"), [(ALL, 1), (TWO_KIDNEYS, 0)])
    def test_it_is_none_where_members_differ_which_is_told(self, make_run, tmp_path, caplog, other, n_told):
        config = self.settled(make_run("a"), make_run("b", postprocessing=other))

        record_members(RunFolder(tmp_path), config, read_members(config))

        assert config.postprocessing == other
        assert (
            caplog.text.count("differ in their post-processing, so that nothing is post-processed: choose by ")
            == n_told
        )


def test_a_configuration_without_member_runs_stays_as_it_is():
    config = OmegaConf.create({"model": {"stages": {}}})
    OmegaConf.set_struct(config, True)

    settle_member_runs(config)

    assert config == {"model": {"stages": {}}}


def test_a_member_is_described_with_all_that_its_networks_cost(make_run):
    inner = make_run("inner", stages={"detector": stage("tumor"), "refit": {**stage("tumor"), "contains": "detector"}})
    outer = make_run("outer", stages={"own": stage("tumor")}, member_runs=[str(inner)], combination=ENSEMBLE)

    described = describe_members(read_members(config_of(outer, inner)))

    same = {"seed": 3, "commit": "abc", "config_hash": "def", "started": "then"}
    assert described == {
        "1": {"run": str(outer), "name": "model-outer", **same, "parameters": 20, "flops": 200},
        "2": {"run": str(inner), "name": "model-inner", **same, "parameters": 10, "flops": 100},
    }


def test_members_are_recorded_once(make_run, tmp_path):
    run, config = RunFolder(tmp_path), config_of(make_run())
    record_members(run, config, read_members(config))
    record = json.loads((tmp_path / "member" / "run.json").read_text())
    (tmp_path / "member" / "run.json").write_text(json.dumps({**record, "config_hash": "another"}))

    record_members(run, config, read_members(config))

    assert json.loads((tmp_path / "run.json").read_text())["members"]["1"]["config_hash"] == "def"


@pytest.mark.parametrize(
    ("weights", "expected"), [("validation_dice", {"own": 0.5, "1": 0.75}), ([2, 1], {"own": 2, "1": 1})]
)
def test_weights_are_recorded_by_name_and_once(make_run, tmp_path, weights, expected):
    combination = {**ENSEMBLE, "weights": weights}
    member = make_run()
    folder = make_run("both", stages={"own": stage("tumor")}, member_runs=[str(member)], combination=combination)
    for path, dice in ((member, 0.75), (folder, 0.5)):
        name = "only" if path == member else "own"
        (path / "epochs.csv").write_text(f"stage,epoch,val_case/kidney_and_mass_dice\n{name},0,{dice}\n")
    run = RunFolder(folder, json.loads((folder / "run.json").read_text()))

    record_weights(run)
    (member / "epochs.csv").unlink()
    record_weights(run)

    assert json.loads((folder / "run.json").read_text())["member_weights"] == expected


def test_other_runs_have_no_weights(make_run):
    run = RunFolder(make_run(), {})

    record_weights(run)

    assert run.record == {}


@pytest.mark.slow
def test_an_ensemble_of_one_cascade_predicts_what_the_cascade_does_bit_for_bit(command, tmp_path):
    smoke = ["trainer=smoke", "logger=none"]
    command("model=cascade_unet", *smoke, "hydra.run.dir=cascade", cwd=tmp_path)
    command("model=transfer_ensemble", *smoke, "model.member_runs=[cascade]", "hydra.run.dir=one", cwd=tmp_path)

    one, cascade = tmp_path / "one", tmp_path / "cascade"
    files = sorted(path.relative_to(cascade) for path in cascade.glob("predictions/*.nii.gz"))
    assert files
    for file in files:
        np.testing.assert_array_equal(read_volume(one / file).array, read_volume(cascade / file).array)
    assert list((cascade / "unprocessed").glob("*.nii.gz"))  # post-processing changed something
    assert OmegaConf.load(one / "config.yaml").postprocessing == OmegaConf.load(cascade / "config.yaml").postprocessing
    assert json.loads((one / "run.json").read_text())["member_weights"] == {"1": 1.0}
