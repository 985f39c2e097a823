import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import InstantiationException
from hydra.utils import instantiate

from kidney_lab.composition.messages import describe
from kidney_lab.composition.resolvers import register_resolvers
from kidney_lab.composition.search_path import config_folder, register_experiments
from kidney_lab.errors import InputError
from kidney_lab.networks.plain_unet3d import PlainUNet3d
from kidney_lab.tasks.fingerprint import fingerprint


def composed(*overrides):
    register_resolvers()
    register_experiments()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return compose("config", overrides=[*overrides, "logger=none"])


@pytest.fixture
def root(tmp_path):
    for number, (spacing, shape) in {
        0: ((3.0, 0.78125, 0.78125), (20, 128, 128)),
        1: ((5.0, 0.75, 0.75), (16, 128, 128)),
        160: ((1.0, 0.5, 0.5), (60, 128, 200)),
    }.items():
        d, h, w = spacing
        affine = np.array([[0, 0, -w, 0], [0, -h, 0, 0], [-d, 0, 0, 0], [0, 0, 0, 1.0]])
        header = nib.Nifti1Image(np.zeros(shape, np.uint8), affine)
        folder = tmp_path / "kits19" / f"case_{number:05d}"
        folder.mkdir(parents=True)
        nib.save(header, folder / "segmentation.nii.gz")
    (tmp_path / "kits19" / "case_00002").mkdir()  # neither image nor reference
    return tmp_path / "kits19"


def test_the_tables_are_written_and_the_excluded_case_is_not_in_them(root, tmp_path, capsys):
    out = tmp_path / "out"
    fingerprint(
        composed("task=fingerprint", "data=kits19", f"data.root={root}", "data.exclude=thesis", f"output={out}")
    )

    cases = pd.read_csv(out / "fingerprint.csv").set_index("case")
    statistics = pd.read_csv(out / "statistics.csv").set_index(["quantity", "statistic"])
    assert cases.index.tolist() == ["case_00000", "case_00001"]
    assert cases.loc["case_00001"].tolist() == [5.0, 0.75, 0.75, 16, 128, 128]
    assert statistics.loc[("spacing", "mean"), ["d", "h", "w"]].tolist() == pytest.approx([4.0, 0.765625, 0.765625])
    printed = capsys.readouterr().out
    assert "1 case without an image and a reference left out: case_00002" in printed
    assert "Over 2 cases of kits19, from the files' headers." in printed
    assert str(out / "fingerprint.md") in printed


def test_the_printed_plan_makes_the_network_that_was_planned(root, tmp_path, capsys):
    fingerprint(
        composed("task=fingerprint", "data=kits19", f"data.root={root}", "data.exclude=thesis", f"output={tmp_path}")
    )
    command = next(line for line in capsys.readouterr().out.splitlines() if "model=nnunet_plain" in line)
    assert command.strip() in (tmp_path / "fingerprint.md").read_text()

    config = composed(*command.split(), "data=kits19", "data.root=x")

    stage = config.model.stages.segmentation
    network = instantiate(stage.module.network, _convert_="all")
    assert stage.grid.spacing == pytest.approx([3.2, 0.765625, 0.765625])  # the 10th percentile across slices
    assert isinstance(network, PlainUNet3d)
    assert network.encoder[0].conv1.conv.kernel_size == (1, 3, 3)
    assert len(stage.module.loss.weights) == len(network.heads) == len(config.model.channels) - 2
    assert config.model.batch_size == 2


def test_the_experiment_sets_the_thesis_beside(root, tmp_path):
    config = composed("+experiments=cascade_unet/table4_1", f"data.root={root}", f"output={tmp_path}")
    fingerprint(config)

    text = (tmp_path / "fingerprint.md").read_text()
    assert "It describes 210 cases; 3 are here." in text
    assert "| mean | 3.00 (3.18, -0.18) |" in text
    assert "| median | 3.00 (3.00, +0.00) | 0.75 (0.78, -0.03) | 0.75 (0.78, -0.03) |" in text


def test_the_training_part_can_be_chosen(root, tmp_path):
    config = composed(
        *("task=fingerprint", "data=kits19", f"data.root={root}", "part=train"),
        *("data.n_train=1", "data.n_val=1", "data.n_test=1", f"output={tmp_path}"),
    )
    fingerprint(config)

    assert len(pd.read_csv(tmp_path / "fingerprint.csv")) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["part=test"], "part=test is unknown: choose all (cases) or train"),
        (["memory_gb=1e-9"], "memory_gb=1e-09 is too little for a patch of"),
        (["published={source: x}"], "published holds {'source': 'x'}"),
        (["data.cases=9"], "data.cases=9 names 1 case that"),
        (["data.exclude=all"], "data.exclude=all is unknown"),
    ],
)
def test_settings_that_cannot_work_are_told_in_one_sentence(arguments, sentence, root, tmp_path):
    out = tmp_path / "out"
    config = composed("task=fingerprint", "data=kits19", f"data.root={root}", f"output={out}", *arguments)

    with pytest.raises((InputError, InstantiationException)) as caught:
        fingerprint(config)

    assert describe(caught.value, []).startswith(sentence)
    assert not out.exists()


def test_the_command_needs_no_output(root, command, tmp_path):
    result = command("task=fingerprint", "data=kits19", f"data.root={root}", cwd=tmp_path)

    assert "model=nnunet_plain" in result.stdout
    assert (tmp_path / "runs" / "fingerprint-kits19" / "fingerprint.md").is_file()
