import json

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from kidney_lab.composition.arguments import prepare_arguments, quote_path, unquote
from kidney_lab.errors import InputError

PATHS = [
    "/data/kits",
    "/data/my kits [2023]",
    "runs/model=a,b",
    "it's here",
    "back\\slash",
    "ends in backslash\\",
    "back\\'quote",
    "(x){y}:z;#%&*",
    "0042",
    "true",
    "2026_11_21",
    "1e5",
    "inf",
    "[out]",
    "[a] b]",
    "ümlaut/肾",
]


def parsed(argument):
    return OverridesParser.create().parse_override(argument).value()


@pytest.mark.parametrize("path", PATHS)
def test_a_path_reaches_hydra_as_it_was_typed(path):
    (argument,) = prepare_arguments([f"input={path}"])

    assert parsed(argument) == path
    assert unquote(argument.removeprefix("input=")) == path


@pytest.mark.parametrize("path", PATHS)
def test_arguments_prepared_twice_are_prepared_once(path):
    once = prepare_arguments([f"data.root={path}", "seed=3"])

    assert prepare_arguments(once) == once


def test_the_file_of_weights_is_a_path_and_its_names_stay_names():
    (argument,) = prepare_arguments(["model.weights=~/my weights.pt"])

    assert parsed(argument) == "~/my weights.pt"
    assert [parsed(one) for one in prepare_arguments(["model.weights=none"])] == ["none"]


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        ("[runs/a/*,runs/my runs [2]/*]", ["runs/a/*", "runs/my runs [2]/*"]),
        ("[runs/x=1/*, 'runs/b, c/*']", ["runs/x=1/*", "runs/b, c/*"]),
        ("[2026_11_21,1e5]", ["2026_11_21", "1e5"]),
        ("runs/[ab]", "runs/[ab]"),
        ("[ab]/run[12]", "[ab]/run[12]"),
        ("[runs/a]", ["runs/a"]),
        ("[runs/my runs [2]]", ["runs/my runs [2]"]),
        ("['runs/a']", ["runs/a"]),
        ("[]", "[]"),
    ],
)
def test_runs_may_be_a_list_of_globs(value, paths):
    once = prepare_arguments([f"runs={value}"])

    assert parsed(once[0]) == paths
    assert prepare_arguments(once) == once


def test_what_exists_in_brackets_is_one_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("[a,b]", "[a]"):
        (tmp_path / name).mkdir()
        assert parsed(prepare_arguments([f"runs={name}"])[0]) == name


def test_files_of_weights_may_be_a_mapping(tmp_path, monkeypatch):
    (argument,) = prepare_arguments(["model.weights={tu-inception_v3: /a/my file.pth, vgg16: none}"])

    assert parsed(argument) == {"tu-inception_v3": "/a/my file.pth", "vgg16": "none"}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "{a}").touch()
    assert parsed(*prepare_arguments(["model.weights={a}"])) == "{a}"


def test_values_that_are_no_paths_stay_as_they_are():
    arguments = ["-m", "model=unet3d", "model.channels=[1,2]", "seed=1,2", "--cfg", "job"]

    assert prepare_arguments(arguments) == arguments


def test_no_path_is_null():
    assert prepare_arguments(["init=null"]) == ["init=null"]


def test_a_sweep_may_be_asked_for_at_any_place():
    assert prepare_arguments(["data=phantom", "-m", "seed=0,1"]) == ["-m", "data=phantom", "seed=0,1"]
    assert prepare_arguments(["seed=0,1", "--multirun"]) == ["--multirun", "seed=0,1"]


def test_a_comma_sweeps_in_a_multirun_and_is_a_comma_otherwise():
    assert prepare_arguments(["-m", "data.root=a,b"]) == ["-m", "data.root=a,b"]
    assert prepare_arguments(["data.root=a,b"]) == ["data.root='a,b'"]


def test_a_quoted_path_is_not_quoted_again():
    assert quote_path("'a b'") == "'a b'"


def test_resume_repeats_the_run_with_todays_overrides_after_it(tmp_path):
    run = tmp_path / "my run"
    run.mkdir()
    (run / "run.json").write_text(
        json.dumps({"overrides": ["model=unet3d", "seed=1", "data.root=x"], "paths": {"data.root": "/x"}})
    )

    arguments = prepare_arguments([f"resume={run}", "seed=2"])

    assert arguments == [
        "model=unet3d",
        "data.root='/x'",
        f"hydra.run.dir='{run}'",
        f"resume='{run}'",
        "seed=2",
    ]
    assert prepare_arguments(arguments) == arguments


def test_flags_may_stand_before_resume(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"overrides": ["seed=1"], "paths": {}}))

    arguments = prepare_arguments(["--cfg", "job", f"resume={tmp_path}"])

    assert arguments[:3] == ["--cfg", "job", "seed=1"]


def test_a_sweep_of_a_resumed_run_is_refused(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"overrides": [], "paths": {}}))

    with pytest.raises(InputError, match="leave out -m"):
        prepare_arguments(["-m", f"resume={tmp_path}", "seed=0,1"])


def test_resuming_one_run_into_another_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"leave out hydra\.run\.dir="):
        prepare_arguments([f"resume={tmp_path}/a", f"hydra.run.dir={tmp_path}/b"])


def test_resuming_a_folder_that_is_no_run_says_so(tmp_path):
    with pytest.raises(InputError, match=r"is no run folder: it has no run\.json"):
        prepare_arguments([f"resume={tmp_path}"])


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("data.cases=3,7,10-12", "3,7,10-12"),
        ("data.cases=0-19", "0-19"),
        ("data.cases=[3,7]", [3, 7]),
        ("data.exclude=nnunet2019,thesis", "nnunet2019,thesis"),
        ("data.exclude=[nnunet2019,thesis]", ["nnunet2019", "thesis"]),
    ],
)
def test_a_list_of_cases_needs_no_brackets(argument, value):
    (prepared,) = prepare_arguments([argument])

    assert parsed(prepared) == value


def test_in_a_sweep_a_comma_sweeps():
    assert prepare_arguments(["-m", "data.exclude=none,thesis"])[1] == "data.exclude=none,thesis"
