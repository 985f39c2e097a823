import json
from contextlib import suppress
from types import SimpleNamespace

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.types import HydraContext
from omegaconf import OmegaConf

from kidney_lab.composition.job_sweeper import register_sweeper
from kidney_lab.composition.messages import to_plain
from kidney_lab.composition.resolvers import register_resolvers
from kidney_lab.composition.search_path import config_folder, register_experiments
from kidney_lab.composition.table import Table, refuse_whole_table, table_jobs
from kidney_lab.errors import BatchError, InputError

EXPERIMENTS = config_folder().parent / "experiments"
TABLES = sorted(path for path in EXPERIMENTS.glob("*/*.yaml") if "rows" in OmegaConf.load(path))
HOSTILE = 'extra: "one", nnU-Net\'s [a+b] (c=1) 50 % {d} \\'

TOY = """\
# @package _global_
experiment:
  table: mine/toy
hydra:
  sweep:
    dir: {folder}/mine-toy
seeds: [0, 1]
rows:
  PM: [model.output=labels]
  {hostile}: [loss=dice_ce, model.max_epochs=1]
"""


def parsed(*overrides):
    return OverridesParser.create().parse_overrides(list(overrides))


def jobs(*overrides, rows=None, seeds=None):
    return table_jobs(
        Table("a/b", rows or {"PM": ["model=x"], "Vanilla": ["model=y", "loss=z"]}, seeds), parsed(*overrides)
    )


def test_a_row_is_a_bundle_and_no_product():
    assert jobs("+experiments=a/b", "data=phantom") == [
        ["model=x", "+experiments=a/b", "data=phantom", "experiment.row='PM'", "~rows"],
        ["model=y", "loss=z", "+experiments=a/b", "data=phantom", "experiment.row='Vanilla'", "~rows"],
    ]


def test_every_row_is_run_with_a_seed_before_any_with_the_next():
    ends = [job[-4:] for job in jobs(seeds=[3, 5])]

    assert ends == [
        ["model=x", "seed=3", "experiment.row='PM'", "~rows", "~seeds"][-4:],
        ["loss=z", "seed=3", "experiment.row='Vanilla'", "~rows", "~seeds"][-4:],
        ["model=x", "seed=5", "experiment.row='PM'", "~rows", "~seeds"][-4:],
        ["loss=z", "seed=5", "experiment.row='Vanilla'", "~rows", "~seeds"][-4:],
    ]


@pytest.mark.parametrize(("given", "expected"), [("seed=7", ["seed=7"]), ("seed=7,8", ["seed=7", "seed=8"])])
def test_seeds_of_the_command_line_replace_the_table_s(given, expected):
    found = [item for job in jobs(given, seeds=[0, 1, 2]) for item in job if item.startswith("seed=")]

    assert found == [seed for seed in expected for _ in ("PM", "Vanilla")]


def test_what_the_command_line_sweeps_over_multiplies_the_rows():
    found = jobs("data=a,b", "preset=choice(small,full)", "+x=[1,2]", "trainer.max_epochs=range(1,3)", seeds=[0])

    assert len(found) == 2 * 2 * 2 * 2
    assert len({tuple(job) for job in found}) == len(found)
    assert all("+x=[1,2]" in job and "seed=0" in job for job in found)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("experiment.row=Vanilla 3D U-Net", ["Vanilla 3D U-Net"]),
        ("experiment.row='a, b',PM", ["a, b", "PM"]),
        ("experiment.row=choice(PM)", ["PM"]),
        ("experiment.row=3", ["3"]),
    ],
)
def test_rows_are_chosen_by_name(given, expected):
    rows = {"PM": ["model=x"], "Vanilla 3D U-Net": ["model=y"], "a, b": [], "3": []}

    assert [job[-2] for job in jobs(given, rows=rows)] == [f"experiment.row='{row}'" for row in expected]


@pytest.mark.parametrize("name", [HOSTILE, "it's", "\\'", "a\\", "null", "1e3", "a,b", " x ", "Müller & Söhne"])
def test_any_name_of_a_row_survives_hydra_s_grammar(name):
    (job,) = jobs(rows={name: ["model=x"]})

    (override,) = parsed(next(item for item in job if item.startswith("experiment.row=")))
    assert override.value() == name


WRONG_JOBS = {
    "an unknown row": (
        ["experiment.row=Vanila"],
        {},
        r"row=Vanila is no row of a/b \(did you mean Vanilla\?\): choose",
    ),
    "what a row sets": (["loss=dice_ce"], {}, "loss= is what row 'Vanilla' of a/b itself sets"),
    "a sweep in a row": ([], {"PM": ["loss=a,b"]}, "row 'PM': loss=a,b sweeps, but a row is one job"),
    "an unreadable override": ([], {"PM": ["loss==="]}, "a/b, row 'PM': loss=== cannot be read as key=value"),
}


@pytest.mark.parametrize(("given", "rows", "sentence"), WRONG_JOBS.values(), ids=WRONG_JOBS)
def test_what_would_run_another_row_than_it_says_is_refused(given, rows, sentence):
    with pytest.raises(InputError, match=sentence):
        jobs(*given, rows=rows)


WRONG_TABLES = {
    "no name": ({"rows": {"PM": []}}, "experiment.table is not set"),
    "no rows": ({"experiment": {"table": "a/b"}}, r"a/b: rows=None makes no table; write rows: \{PM"),
    "a list of rows": ({"experiment": {"table": "a/b"}, "rows": ["model=x"]}, r"rows=\['model=x'\] makes no table"),
    "an unknown key": (
        {"experiment": {"table": "a/b"}, "rows": {"PM": {"overides": ["model=x"]}}},
        r"row 'PM' is \{'overides': \['model=x'\]\}, but must be a list of overrides",
    ),
    "one override": ({"experiment": {"table": "a/b"}, "rows": {"PM": "model=x"}}, "row 'PM' is 'model=x', but must"),
    "a comparison of no row": (
        {"experiment": {"table": "a/b", "compare": {"Vanila": "PM"}}, "rows": {"PM": [], "Vanilla": []}},
        r"compare names 'Vanila', which is no row of a/b \(did you mean Vanilla\?\): choose among PM; Vanilla\.",
    ),
    "a comparison with no row": (
        {"experiment": {"table": "a/b", "compare": {"PM": ["Vanilla", "nnU-Net"]}}, "rows": {"PM": [], "Vanilla": []}},
        "compare names 'nnU-Net', which is no row of a/b: choose among PM; Vanilla",
    ),
    "a comparison that is none": (
        {"experiment": {"table": "a/b", "compare": "PM"}, "rows": {"PM": []}},
        r"experiment\.compare='PM' names no pairs of rows: write it as in experiment\.compare=\{",
    ),
    "a wrong seed": ({"experiment": {"table": "a/b"}, "rows": {"PM": []}, "seeds": [0, "a"]}, r"seeds=\[0, 'a'\] must"),
}


@pytest.mark.parametrize(("config", "sentence"), WRONG_TABLES.values(), ids=WRONG_TABLES)
def test_what_is_no_table_is_refused(config, sentence):
    with pytest.raises(InputError, match=sentence):
        Table.of(OmegaConf.create(config))


@pytest.fixture
def composed():
    """Composes a configuration, with Hydra's own part."""
    register_resolvers()
    register_experiments()
    register_sweeper()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        yield lambda *overrides: compose("config", overrides=list(overrides), return_hydra_config=True)


def resolved(config):
    """The configuration that a job writes into its run."""
    OmegaConf.set_readonly(config.hydra, False)
    config.hydra.runtime.output_dir = "out"  # which Hydra knows only while a job runs
    HydraConfig.instance().set_config(config)
    return to_plain(OmegaConf.masked_copy(config, [key for key in config if key != "hydra"]))


@pytest.fixture
def sweep(composed, tmp_path):
    """Sweeps over a toy table; the launcher records the jobs instead of running them."""
    file = tmp_path / "experiments" / "mine" / "toy.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(TOY.format(folder=tmp_path, hostile=json.dumps(HOSTILE)))
    search_path = f"hydra.searchpath=['file://{tmp_path}']"

    def run(*overrides, replace=("", "")):
        file.write_text(file.read_text().replace(*replace))
        config = composed(search_path, "+experiments=mine/toy", *overrides)
        context = HydraContext(config_loader=GlobalHydra.instance().config_loader(), callbacks=None)
        sweeper = Plugins.instance().instantiate_sweeper(hydra_context=context, task_function=None, config=config)
        launched = []
        sweeper.launcher = SimpleNamespace(launch=lambda jobs, initial_job_idx: launched.extend(jobs) or [])
        with suppress(BatchError):  # nothing ran
            sweeper.sweep(["+experiments=mine/toy", *overrides])
        return [resolved(composed(search_path, *job)) for job in launched]

    return run


def test_each_job_knows_its_table_and_row_and_nothing_of_the_others(sweep, tmp_path):
    configs = sweep("trainer=smoke", "data=phantom")

    assert [(config["experiment"], config["seed"]) for config in configs] == [
        ({"table": "mine/toy", "row": row, "compare": None}, seed) for seed in (0, 1) for row in ("PM", HOSTILE)
    ]
    assert [config["model"]["output"] for config in configs[:2]] == ["labels", "regions"]
    assert [config["trainer"]["max_epochs"] == 1 for config in configs[:2]] == [False, True]
    assert not any({"rows", "seeds"} & config.keys() for config in configs)
    for config in configs:
        refuse_whole_table(OmegaConf.create(config))
    assert (tmp_path / "mine-toy" / "multirun.yaml").is_file()


def test_a_row_that_cannot_be_composed_stops_the_sweep_and_is_named(sweep, tmp_path):
    with pytest.raises(
        InputError, match=r"mine/toy, experiment\.row='PM': model\.outptu is unknown \(did you mean outp"
    ):
        sweep("trainer=smoke", replace=("model.output", "model.outptu"))

    assert not (tmp_path / "mine-toy").exists()


@pytest.mark.parametrize("file", TABLES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_table_says_where_it_stands_and_names_the_rows_as_the_paper_does(file, composed):
    paper, name = file.parent.name, file.stem
    config = composed(f"+experiments={paper}/{name}", "data.root=x")
    table = Table.of(config)

    assert table.name == f"{paper}/{name}"
    assert config.hydra.sweep.dir.startswith(f"runs/{paper}-{name}/")
    published = json.loads((file.parent / "published.json").read_text())
    own = {row for row in table.rows if not row.startswith("extra: ")}
    of_table = {score["row"] for score in published if score["table"] == name}
    assert own <= (of_table or {score["row"] for score in published})  # a table of our own has rows of the paper's
    assert len(table_jobs(table, parsed("data.root=x"))) == len(table.rows) * len(table.seeds)
    with pytest.raises(InputError, match=rf"\+experiments={paper}/{name} is a table of {len(table.rows)} rows, and no"):
        refuse_whole_table(config)


@pytest.mark.parametrize(
    ("overrides", "name", "split", "preset"),
    [
        (["data.root=x"], "kits19", "thesis_190_20", "full"),
        (["data=kits19", "data.root=x", "preset=small"], "kits19", "thesis_190_20", "small"),
        (["data=kits21", "data.root=x"], "kits21", "auto", "full"),
        (["data=phantom"], "phantom", "auto", "small"),
        (["data=phantom", "trainer=smoke"], "phantom", "auto", "smoke"),
        (["data.root=x", "data.split=kidney_lab"], "kits19", "kidney_lab", "full"),
    ],
)
def test_the_thesis_split_is_that_of_the_thesis_data_alone(overrides, name, split, preset, composed):
    config = resolved(composed("+experiments=cascade_unet/table4_2", "logger=none", *overrides))

    assert (config["data"]["name"], config["data"]["split"], config["preset"]) == (name, split, preset)


def test_a_table_without_a_sweep_is_refused_in_one_sentence(command, tmp_path):
    result = command("+experiments=cascade_unet/table4_2", "data=phantom", "trainer=smoke", cwd=tmp_path, check=False)

    assert result.returncode == 2
    assert "run it by python -m kidney_lab -m +experiments=cascade_unet/table4_2, with experiment.row=" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_a_table_is_run_row_by_row_and_reported_beside_what_is_published(command, tmp_path):
    file = tmp_path / "conf" / "experiments" / "mine" / "toy.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(TOY.format(folder=tmp_path, hostile=json.dumps(HOSTILE)))
    table = ["-m", "-cd", str(tmp_path / "conf"), "+experiments=mine/toy", "data=phantom", "trainer=smoke", "seed=4"]
    command(*table, cwd=tmp_path)
    command("task=report", f"runs={tmp_path}/mine-toy/*", "output=out", cwd=tmp_path)

    for number, row in enumerate(["PM", HOSTILE]):
        run = tmp_path / "mine-toy" / str(number)
        assert OmegaConf.load(run / "config.yaml").experiment == {"table": "mine/toy", "row": row, "compare": None}
        assert json.loads((run / "run.json").read_text())["status"] == "finished"
    text = (tmp_path / "out" / "published.md").read_text()
    assert "| PM (phantom, SYNTHESIZED) | Tumor | Dice" in text
    assert "SYNTHESIZED: the images of phantom are made up" in text
    assert "Measured: mine/toy" in (tmp_path / "out" / "report.html").read_text()
