"""Every row of every table composes, and each distinct configuration among them takes a step of every stage."""

import shutil

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import instantiate
from omegaconf import OmegaConf

from kidney_lab.composition.config_hash import config_hash
from kidney_lab.composition.messages import to_plain
from kidney_lab.composition.resolvers import register_resolvers
from kidney_lab.composition.search_path import config_folder, register_experiments
from kidney_lab.composition.table import Table, refuse_whole_table, table_jobs
from kidney_lab.errors import InputError
from kidney_lab.methods.pipeline import enabled_stages
from kidney_lab.tasks.run_folder import RunFolder
from kidney_lab.tasks.settings import check_settings

EXPERIMENTS = sorted(f"{path.parent.name}/{path.stem}" for path in config_folder().parent.glob("experiments/*/*.yaml"))
SINGLE = ["cascade_unet/table4_1", "unet3d/kits19_masks"]
"""Experiments without rows: a table of headers alone, and a training."""
TABLES = [name for name in EXPERIMENTS if name not in SINGLE]
SMOKE = ("data=phantom", "trainer=smoke", "preset=smoke", "data.num_workers=0", "prepare.workers=1", "seed=0")
STEP = ("trainer.max_epochs=1", "trainer.limit_train_batches=1", "trainer.limit_val_batches=1")


def composed(*overrides):
    register_resolvers()
    register_experiments()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = compose("config", overrides=list(overrides), return_hydra_config=True)
    OmegaConf.set_readonly(config.hydra, False)
    config.hydra.runtime.output_dir = "out"  # which Hydra knows only while a job runs
    HydraConfig.instance().set_config(config)
    return OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])


def rows(table, *overrides):
    """Configurations of a table's rows, by name."""
    given = [f"+experiments={table}", *overrides]
    jobs = table_jobs(Table.of(composed(*given)), OverridesParser.create().parse_overrides(given))
    configs = [composed(*job) for job in jobs]
    return {config.experiment.row: config for config in configs}


def without_names(config):
    """What a job does: neither whose row it is, nor its seed."""
    return config_hash({key: value for key, value in to_plain(config).items() if key not in ("experiment", "seed")})


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    root = tmp_path_factory.mktemp("tables")
    dataset = instantiate(composed(*SMOKE, f"data.root={root / 'data'}").data, _convert_="all")
    return dataset, root


@pytest.fixture(scope="module")
def stepped():
    """Configurations that have taken their step."""
    return set()


@pytest.mark.parametrize("table", TABLES)
def test_every_row_takes_a_step_at_smoke_size(table, phantom, stepped, tmp_path):
    from kidney_lab.tasks.stages import StageTraining

    dataset, root = phantom
    paths = (f"data.root={root / 'data'}", f"prepare.root={root / 'stores'}")
    for number, (row, config) in enumerate(rows(table, *SMOKE, *STEP, *paths).items()):
        key = without_names(config)
        if key in stepped:
            continue
        stepped.add(key)
        check_settings(config)
        run = RunFolder(tmp_path / str(number), {"stages": {}})

        StageTraining(run, config, dataset, device=torch.device("cpu"), precision="32-true").train()

        taken = {name: result["steps"] > 0 for name, result in run.record["stages"].items()}
        assert taken == dict.fromkeys(enabled_stages(config.model.stages), True), f"{table}, row {row}"
        shutil.rmtree(run.path)  # a row's checkpoints are up to half a gigabyte


@pytest.mark.parametrize("table", TABLES)
def test_every_row_resolves_with_the_table_s_own_data(table):
    configs = rows(table, "data.root=somewhere", "preset=smoke", "logger=none", "seed=0")

    for row, config in configs.items():
        assert to_plain(config)["experiment"]["row"] == row
        if not table.endswith("kits19_masks"):  # these are of one size
            assert config.trainer.max_epochs <= 3, f"{row} of {table} is long at smoke size"
    doubles = len(configs) - len({without_names(config) for config in configs.values()})
    assert doubles == 0, f"{doubles} rows of {table} are what another row is"


@pytest.mark.parametrize("experiment", SINGLE)
def test_what_has_no_rows_is_no_table(experiment):
    with pytest.raises(InputError, match=r"experiment\.table is not set"):
        Table.of(composed(f"+experiments={experiment}", "data.root=somewhere"))


@pytest.mark.parametrize("table", TABLES)
def test_a_table_is_no_single_run(table):
    with pytest.raises(InputError, match=rf"\+experiments={table} is a table of \d+ rows, and no single run"):
        refuse_whole_table(composed(f"+experiments={table}", "data.root=somewhere"))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["attention_vnet", "cascade_unet", "ernet", "msalds", "transfer_ensemble"])
def test_two_trainings_of_one_seed_are_bit_identical_on_a_cpu(model, phantom, tmp_path):
    from kidney_lab.tasks.stages import StageTraining

    dataset, root = phantom
    paths = (f"data.root={root / 'data'}", f"prepare.root={root / 'stores'}")
    config = composed(f"model={model}", *SMOKE, *paths, "trainer.max_epochs=2")
    assert config.trainer.deterministic is True
    weights = []
    for name in ("one", "other"):
        run = RunFolder(tmp_path / name, {"stages": {}})
        StageTraining(run, config, dataset, device=torch.device("cpu"), precision="32-true").train()
        checkpoints = sorted((tmp_path / name / "stages").glob("*/last.ckpt"))
        weights.append([torch.load(path, weights_only=True)["state_dict"] for path in checkpoints])
        torch.rand(7)  # what else has drawn numbers does not matter

    one, other = weights
    assert len(one) == len(list(enabled_stages(config.model.stages)))
    for first, second in zip(one, other, strict=True):
        assert all(torch.equal(value, second[key]) for key, value in first.items())
