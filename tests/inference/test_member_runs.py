import json

import pytest
from omegaconf import OmegaConf

from kidney_lab.errors import InputError
from kidney_lab.inference.combine import LastStage, NestedRegions
from kidney_lab.inference.member_runs import combination_of, member_paths, output_of, read_members, read_run
from kidney_lab.methods.output import LabelOutput, RegionOutput

ENSEMBLE = {"_target_": "kidney_lab.inference.ensemble.Ensemble"}


def stage(*regions, kind="RegionOutput"):
    output = {"_target_": f"kidney_lab.methods.output.{kind}", "labels": ["kidney", "tumor"], "regions": [*regions]}
    return {"module": {"output": output}}


@pytest.fixture
def make_run(tmp_path):
    """Writes a run folder as far as its members are concerned."""

    def make(name, *, stages=None, status="finished", **model):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True, parents=True)
        stages = {"only": stage("kidney_and_mass")} if stages is None else stages
        OmegaConf.save({"model": {"stages": stages, **model}}, folder / "config.yaml")
        (folder / "run.json").write_text(json.dumps({"status": status, "stages": {stage: {} for stage in stages}}))
        return folder

    return make


def config_of(*paths, **model):
    return OmegaConf.create({"model": {"stages": {}, "member_runs": [str(path) for path in paths], **model}})


def test_members_are_named_by_their_numbers_in_order(make_run):
    first, second = make_run("b"), make_run("a")

    members = read_members(config_of(first, second))

    assert {name: run.path for name, run in members.items()} == {"1": first, "2": second}
    assert read_members(OmegaConf.create({"model": {"stages": {}}})) == {}
    assert read_run(first).members() == {}


def test_members_may_have_members(make_run):
    inner = make_run("inner")
    outer = make_run("outer", stages={}, member_runs=[str(inner)], combination=ENSEMBLE)

    members = read_members(config_of(outer))

    assert members["1"].members()["1"].path == inner


def test_in_a_stored_configuration_relative_paths_begin_at_its_folder(make_run):
    outer = make_run("outer", stages={}, member_runs=["members/1"], combination=ENSEMBLE)
    inner = make_run("outer/members/1")

    assert read_run(outer).members()["1"].path == inner


def test_members_call_nothing_that_runs_may_not_but_what_the_user_trusts(make_run):
    stages = {"only": {"module": {"network": {"_target_": "my_lab.Net"}}}}
    inner = make_run("inner", stages=stages)
    outer = make_run("outer", stages={}, member_runs=[str(inner)], trust=["my_lab.Net"])

    with pytest.raises(
        InputError, match=r"inner/config\.yaml calls .*_target_=my_lab\.Net, which is no part of methods"
    ):
        read_run(outer).members()  # what a stored configuration trusts is nobody's word
    with pytest.raises(InputError, match=r"my_lab\.Net, which is not there \(No module named 'my_lab'\)"):
        read_run(outer, trust=["my_lab"]).members()
    with pytest.raises(InputError, match=r"my_lab\.Net, which is no part of methods"):
        read_members(config_of(inner))
    with pytest.raises(InputError, match=r"my_lab\.Net, which is not there"):
        read_members(OmegaConf.merge(config_of(inner), {"trust": ["my_lab"]}))


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_run_that_leads_back_to_itself_is_refused(make_run, tmp_path, length):
    for k in range(length):
        make_run(str(k), stages={}, member_runs=[str(tmp_path / str((k + 1) % length))], combination=ENSEMBLE)

    with pytest.raises(
        InputError, match=r"model\.member_runs in .*config\.yaml names .*, which would be a member of i"
    ):
        output_of(config_of(tmp_path / "0", combination=ENSEMBLE), read_members(config_of(tmp_path / "0")))


def test_a_member_that_has_moved_is_named_with_the_place_to_correct(make_run, tmp_path):
    run = make_run("outer", stages={}, member_runs=[str(tmp_path / "gone")])

    with pytest.raises(
        InputError, match=r"model\.member_runs in .*outer/config\.yaml names .*gone, which is no run fol"
    ):
        read_run(run).members()
    with pytest.raises(
        InputError, match=r"^model\.member_runs names .*gone, .*\(it has no config\.yaml\): bring the run"
    ):
        read_members(config_of(tmp_path / "gone"))


@pytest.mark.parametrize("status", ["running", "failed", "interrupted"])
def test_a_member_that_is_not_finished_is_refused(make_run, status):
    run = make_run("a", status=status)

    with pytest.raises(InputError, match=rf"a, whose training is {status} and not finished: end it by resume=.*a, or"):
        read_members(config_of(run))


def test_a_member_stands_once(make_run):
    run = make_run("a")

    with pytest.raises(InputError, match=r"twice: name it once, and let it count more by model\.member_weights"):
        read_members(config_of(run, run / ".." / "a"))


@pytest.mark.parametrize("paths", ["runs/a", [1], [""], {"a": "b"}])
def test_what_is_no_list_of_paths_is_refused(paths):
    with pytest.raises(
        InputError, match=r"model\.member_runs=.* is no list of run folders: write model\.member_runs=\[R"
    ):
        member_paths(OmegaConf.create({"model": {"member_runs": paths}}))


def test_without_any_there_are_none():
    assert member_paths(OmegaConf.create({"model": {}})) == []
    assert member_paths(OmegaConf.create({"model": {"member_runs": None}})) == []


class TestOutput:
    def test_it_is_the_last_stage_s(self):
        config = OmegaConf.create({"model": {"stages": {"a": stage("mass"), "b": stage("tumor", kind="LabelOutput")}}})

        output = output_of(config, {})

        assert isinstance(output, LabelOutput)
        assert output.regions == ("tumor",)
        assert isinstance(combination_of(config), LastStage)

    def test_it_is_that_of_regions_in_each_other(self):
        nested = {
            "_target_": "kidney_lab.inference.combine.NestedRegions",
            "stages": {"kidney_and_mass": "a", "mass": None, "tumor": "b"},
        }
        stages = {"a": stage("kidney_and_mass"), "b": stage("tumor")}
        config = OmegaConf.create({"model": {"stages": stages, "combination": nested}})

        assert output_of(config, {}).regions == ("kidney_and_mass", "tumor")
        assert isinstance(combination_of(config), NestedRegions)

    def test_of_an_ensemble_it_is_that_of_stages_and_runs_and_their_members(self, make_run):
        inner = make_run("inner", stages={"only": stage("mass")})
        outer = make_run("outer", stages={"x": stage("tumor")}, member_runs=[str(inner)], combination=ENSEMBLE)
        config = config_of(outer, combination=ENSEMBLE)
        with_stage = config_of(outer, combination=ENSEMBLE, stages={"own": stage("kidney_and_mass")})

        assert output_of(config, read_members(config)).regions == ("mass", "tumor")
        output = output_of(with_stage, read_members(with_stage))
        assert isinstance(output, RegionOutput)
        assert output.regions == ("kidney_and_mass", "mass", "tumor")

    def test_a_method_of_nothing_is_refused(self):
        with pytest.raises(InputError, match="no member"):
            output_of(config_of(combination=ENSEMBLE), {})
        with pytest.raises(InputError, match="None of the stages"):
            output_of(config_of(), {})
