"""Trainings on two machines: two agents of torchrun, each with one process, that find each other on this one."""

import os
import socket
import subprocess
import sys

import pandas as pd
import pytest

SMOKE = ["data=phantom", "preset=smoke", "logger=none", "augment=none", "trainer.gradient_clip_val=null"]
ONE = [*SMOKE, "trainer=cpu", "trainer.precision=32-true"]
TWO = [
    *SMOKE,
    *("trainer=ddp", "trainer.accelerator=cpu", "trainer.precision=32-true"),
    *("trainer.devices=1", "trainer.num_nodes=2", "model.batch_size=1"),
]

# Losses that are means over samples, so that two halves of a batch have the whole batch's gradient; what normalizes by
# a batch, or draws by chance, would see another one.
SUPERVISED = ["model=unet3d", "loss.batch=false"]
FRESH = "module.network.norm=instance"
MSALDS = [
    *("model=msalds", "model.coarse=false", "model.cysts=false", "loss.dice.batch=false"),
    *(f"+model.stages.{stage}.{FRESH}" for stage in ("kidney", "tumor")),
]
VOX2VOX = ["model=vox2vox", "loss.batch=false", "model.dropout=0"]
ENSEMBLE = [
    *("model=transfer_ensemble", "model.encoders=[tu-test_resnet,tu-test_efficientnet]", "model.decoder=linear"),
    *("model.batch_norm=frozen", "model.dropout=0", "loss.batch=false"),
]
# The detector draws the boxes that it learns from, so that it is left as it comes, and finds anything that is there.
ERNET = ["model=ernet", "optimizer.lr=0", "model.box_score_thresh=0.01", "model.refit.max_pixels=100000"]


@pytest.fixture(scope="session")
def torchrun(tmp_path_factory):
    """Runs the command by two agents of torchrun; returns what each printed, with its exit code."""

    def run(*arguments, cwd):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            place = f"127.0.0.1:{free.getsockname()[1]}"
        agent = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
        agent += ["--rdzv-backend=c10d", f"--rdzv-endpoint={place}", "-m", "kidney_lab", *arguments]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        files = [tmp_path_factory.mktemp("agent") / "output.txt" for _ in range(2)]
        agents = []
        for file in files:
            with file.open("w") as output:
                streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": subprocess.STDOUT}
                agents.append(subprocess.Popen(agent, cwd=cwd, env=environment, **streams))
        try:
            codes = [process.wait(timeout=600) for process in agents]
        finally:
            for process in agents:
                process.terminate()
                process.wait()
        return [(code, file.read_text()) for code, file in zip(codes, files, strict=True)]

    return run


def trained_both_ways(command, torchrun, folder, *model):
    """Run folders of the same training by one process and by two machines."""
    command(*ONE, *model, "hydra.run.dir=one", cwd=folder)
    outputs = torchrun(*TWO, *model, "hydra.run.dir=two", cwd=folder)
    assert [code for code, _ in outputs] == [0, 0], "\n".join(text for _, text in outputs)
    assert sum("run folder" in text for _, text in outputs) == 1  # the first alone speaks
    return folder / "one", folder / "two"


def assert_alike(one, two):
    """Validation of every epoch of every stage, and the scores of the test cases."""
    before, after = (pd.read_csv(run / "epochs.csv").filter(regex="^(stage|epoch|step|val_)") for run in (one, two))
    for rows in (before, after):
        rows.loc[rows["stage"] == "detector", "val_patch/loss"] = float("nan")  # of boxes that are drawn by chance
    pd.testing.assert_frame_equal(after, before, rtol=1e-3, atol=1e-3)
    before, after = (pd.read_csv(run / "metrics.csv").sort_values(["case", "region", "metric"]) for run in (one, two))
    pd.testing.assert_frame_equal(after.reset_index(drop=True), before.reset_index(drop=True), atol=5e-3)


def test_two_machines_train_as_one_process_does_with_the_same_batches(command, torchrun, tmp_path):
    assert_alike(*trained_both_ways(command, torchrun, tmp_path, *SUPERVISED))


@pytest.mark.slow
@pytest.mark.parametrize("model", [MSALDS, VOX2VOX, ENSEMBLE, ERNET], ids=lambda model: model[0])
def test_two_machines_train_each_kind_of_method_as_one_process_does(command, torchrun, tmp_path, model):
    assert_alike(*trained_both_ways(command, torchrun, tmp_path, *model))


@pytest.mark.slow
def test_machines_that_cannot_agree_on_a_run_folder_say_so(torchrun, tmp_path):
    for code, text in torchrun(*TWO, *SUPERVISED, cwd=tmp_path):
        assert code == 1  # the agent's
        assert "kidney_lab: hydra.run.dir is not given" in text
