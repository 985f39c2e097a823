import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from kidney_lab.data.nifti import read_volume, write_volume
from kidney_lab.data.priors import Priors
from kidney_lab.errors import InputError
from kidney_lab.geometry import Volume, reorient
from kidney_lab.inference.load import load_method, load_stage
from kidney_lab.inference.priors import prior_labels
from kidney_lab.inference.stage import predict_stage
from kidney_lab.methods.supervised import SupervisedSegmentation
from kidney_lab.metrics.case_scores import Scoring
from kidney_lab.metrics.lesions import LESION_METRICS
from kidney_lab.metrics.table import read_metrics
from kidney_lab.tasks import stages as tasks
from kidney_lab.tasks.run_folder import RunFolder
from kidney_lab.tasks.stages import StageTraining
from kidney_lab.tasks.testing import segment_scored_cases, write_scores
from tests.support.cascade_runs import CPU, SHAPE, copied, recipe, rewrite, train, training, weights

pytestmark = pytest.mark.filterwarnings("ignore")


class TestBookkeeping:
    def test_both_stages_are_trained_in_order_with_checkpoints_of_their_own(self, finished):
        run = finished.run.path
        record = json.loads((run / "run.json").read_text())

        assert list(record["stages"]) == ["coarse", "fine"]
        assert record["stages"]["coarse"]["input_shape"][1] == 1
        assert record["stages"]["fine"]["input_shape"][1] == 4
        assert [stage for stage, _ in pd.read_csv(run / "epochs.csv").groupby("stage", sort=False)] == [
            "coarse",
            "fine",
        ]
        for stage in record["stages"]:
            assert {"best.ckpt", "last.ckpt"} <= {path.name for path in (run / "stages" / stage).iterdir()}

    def test_a_stage_s_own_settings_of_the_trainer_are_its_alone(self, root, tmp_path):
        made = train(root, tmp_path, "+model.stages.coarse.trainer.max_epochs=1")

        assert {name: stage["epochs"] for name, stage in made.run.record["stages"].items()} == {"coarse": 1, "fine": 2}

    def test_priors_are_what_the_best_network_of_stage_1_makes_of_every_case_and_lie_on_stage_2_s_grid(self, finished):
        run, split = finished.run.path, finished.dataset.split
        coarse = load_stage(finished.stages["coarse"], run / "stages" / "coarse")
        fine = instantiate(finished.stages["fine"], _convert_="all")
        coarse.module.eval()
        (folder,) = (run / "stages" / "coarse" / "priors").iterdir()
        assert sorted(path.name for path in folder.iterdir()) == sorted((*split.train, *split.val))

        store, onto = finished._store(coarse.grid), finished._store(fine.grid)
        for case in (*split.train, *split.val):
            predicted = predict_stage(coarse, store[case].image[...], None, device=CPU, precision="32-true")
            expected = prior_labels(predicted, onto[case].shape, coarse.module.output)
            np.testing.assert_array_equal(Priors(folder)[case].label[...], expected)


class TestSweep:
    def test_a_job_that_differs_in_stage_2_ends_as_if_it_had_trained_stage_1_itself(self, root, tmp_path, monkeypatch):
        widths = "model.channels=[4,8,4]"
        train(root, tmp_path / "sweep" / "0", sweep=True)
        alone = train(root, tmp_path / "alone", widths).run
        fitted = []
        fit_stage = tasks.fit_stage

        def noted(name, **settings):
            fitted.append(name)
            return fit_stage(name, **settings)

        monkeypatch.setattr(tasks, "fit_stage", noted)

        run = train(root, tmp_path / "sweep" / "1", widths, sweep=True).run

        assert fitted == ["fine"]
        assert run.record["stages"]["coarse"]["taken_from"] == "0"
        for stage in ("coarse", "fine"):
            expected = weights(alone.path, stage)
            assert all(torch.equal(value, expected[key]) for key, value in weights(run.path, stage).items())
        assert (run.path / "epochs.csv").read_bytes() == (alone.path / "epochs.csv").read_bytes()


class TestResuming:
    SETTINGS = ("model.prior=out_of_fold", "model.folds=3")

    @pytest.fixture(scope="class")
    def whole(self, root, tmp_path_factory) -> Path:
        return train(root, tmp_path_factory.mktemp("whole"), *self.SETTINGS).run.path

    def kill_after(self, patched, owner, name, calls) -> None:
        """Lets a function end the run when it is called for one time more than that."""
        function, made = getattr(owner, name), []

        def counted(*arguments, **settings):
            made.append(1)
            if len(made) > calls:
                raise KeyboardInterrupt
            return function(*arguments, **settings)

        patched.setattr(owner, name, counted)

    @pytest.mark.parametrize(
        ("where", "calls", "finished", "predicted"),
        [
            (SupervisedSegmentation, 3, [], 0),  # in the second epoch of stage 1: two epochs of two steps
            (tasks, 0, ["coarse"], 0),  # stage 1 is done
            (Priors, 1, ["coarse"], 1),  # the prior of the validation case is done
            (SupervisedSegmentation, 11, ["coarse"], 2),  # in the second epoch of the second fold
            (Priors, 3, ["coarse"], 3),  # between the priors of the second and the third fold
            (SupervisedSegmentation, 19, ["coarse"], 4),  # in the second epoch of stage 2
        ],
    )
    def test_a_killed_training_does_nothing_again_and_ends_as_the_uninterrupted_one(
        self, where, calls, finished, predicted, monkeypatch, root, whole, tmp_path
    ):
        name = {SupervisedSegmentation: "training_step", tasks: "predict_priors", Priors: "write"}[where]
        with monkeypatch.context() as patched:
            self.kill_after(patched, where, name, calls)
            with pytest.raises(KeyboardInterrupt):
                train(root, tmp_path, *self.SETTINGS)
        assert list(json.loads((tmp_path / "run.json").read_text())["stages"]) == finished
        done = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("label.b2nd")}
        assert len(done) == predicted
        coarse = tmp_path / "stages" / "coarse" / "best.ckpt"
        before = coarse.stat().st_mtime_ns if finished else None
        torch.rand(7)  # a new process has another random state

        train(root, tmp_path, *self.SETTINGS)

        assert {path: path.stat().st_mtime_ns for path in done} == done
        assert before in (None, coarse.stat().st_mtime_ns)
        for path in sorted(whole.rglob("*.ckpt")):
            state, expected = (
                torch.load(run / path.relative_to(whole), weights_only=True)["state_dict"] for run in (tmp_path, whole)
            )
            assert all(torch.equal(state[key], value) for key, value in expected.items()), path
        for path in whole.rglob("label.b2nd"):
            assert (tmp_path / path.relative_to(whole)).read_bytes() == path.read_bytes()
        assert (tmp_path / "epochs.csv").read_bytes() == (whole / "epochs.csv").read_bytes()

    def test_a_finished_training_is_left_alone(self, monkeypatch, root, whole):
        before = {path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.suffix in (".ckpt", ".b2nd")}
        monkeypatch.setattr(tasks, "fit_stage", None)

        training(root, whole, *self.SETTINGS).train()

        assert {path: path.stat().st_mtime_ns for path in before} == before


class TestScoredCases:
    def segmented(self, finished, folder: Path, *, favoured: int, data=None) -> Path:
        run = copied(finished.run.path, folder)
        rewrite(run, favoured=favoured)
        segment_scored_cases(run, data or finished.dataset, "cpu", painted=run / "painted")
        return run

    def test_the_reference_of_a_test_case_changes_no_bit_of_its_prediction(self, root, finished, tmp_path):
        changed = tmp_path / "changed"
        shutil.copytree(root / "data", changed)
        for case in finished.dataset.split.test:
            path = changed / case / "segmentation.nii.gz"
            noise = np.random.default_rng(0).integers(0, 4, SHAPE).astype(np.uint8)
            write_volume(path, Volume(noise, read_volume(path).grid))
        other = instantiate(recipe(root, f"data.root={changed}").data, _convert_="all")
        assert other.split == finished.dataset.split

        runs = [
            self.segmented(finished, tmp_path / str(number), favoured=1, data=data)
            for number, data in enumerate((finished.dataset, other))
        ]

        for case in finished.dataset.split.test:
            for place in ("predictions", "stages/coarse/predictions"):
                one, two = (run / place / f"{case}.nii.gz" for run in runs)
                np.testing.assert_array_equal(read_volume(one).array, read_volume(two).array)

    def test_a_stage_1_that_finds_nothing_leaves_the_whole_scan_to_stage_2(self, finished, tmp_path, caplog):
        run = self.segmented(finished, tmp_path / "run", favoured=0)

        assert "the stage coarse found nothing, so that the stage fine searches the whole scan" in caplog.text
        for case in finished.dataset.split.test:
            assert read_volume(run / "predictions" / f"{case}.nii.gz").array.shape == SHAPE
            assert not read_volume(run / "stages" / "coarse" / "predictions" / f"{case}.nii.gz").array.any()

    def test_scores_before_post_processing_and_of_stage_1_stand_beside_the_result_s(
        self, monkeypatch, finished, tmp_path
    ):
        run = copied(finished.run.path, tmp_path / "run")
        rewrite(run, favoured=1)
        rewrite(run, favoured=1, stage="fine")
        case, *others = finished.dataset.split.test
        method = load_method(run, "cpu")
        clean = type(method.clean)
        monkeypatch.setattr(clean, "__call__", lambda self, labels: np.where(labels == 1, np.uint8(2), labels))

        segment_scored_cases(run, finished.dataset, "cpu", painted=run / "painted")
        regions = tuple(finished.dataset.regions)
        write_scores(run, finished.dataset, 1, Scoring(regions=regions, metrics=("dice", "jaccard"), lesions=True))

        summary = json.loads((run / "summary.json").read_text())
        after = read_metrics(run / "metrics.csv")
        before = read_volume(run / "unprocessed" / f"{case}.nii.gz").array
        reference = finished.dataset.cases[case].read_label().array
        tumor = summary["tumor"]["dice"]
        assert set(np.unique(before)) == {0, 1}
        assert tumor["before_postprocessing"]["mean"] == 0.0  # there was none
        inside = read_volume(run / "predictions" / f"{case}.nii.gz").array == 2
        expected = 2 * (inside & (reference == 2)).sum() / (inside.sum() + (reference == 2).sum())
        row = after[(after["case"] == case) & (after["region"] == "tumor") & (after["metric"] == "dice")]
        assert row["value"].item() == pytest.approx(expected)
        assert tumor["mean"] > 0

        coarse = read_metrics(run / "stages" / "coarse" / "metrics.csv")
        assert sorted(set(coarse["case"])) == sorted([case, *others])
        assert (run / "stages" / "coarse" / "summary.json").is_file()
        assert set(coarse["metric"]) == {"dice", "surface_dice"}
        assert set(after["metric"]) == {"dice", "jaccard", *LESION_METRICS}
        assert not (run / "stages" / "fine" / "metrics.csv").exists()  # that is the run's own


@pytest.mark.slow
def test_the_cascade_overfits_two_phantom_cases(tmp_path):
    phantom = [f"phantom.{key}={n}" for key, n in {"n_cases": 4, "n_train": 2, "n_val": 1, "n_test": 1}.items()]
    sizes = [
        "phantom.in_plane=[96,96]", "phantom.max_slices=40",  # voxels of 4 mm, of which the tumors have 750 and 1250
        "data.spacing=null", "model.coarse.spacing=[8,8,8]", "model.roi_size=[16,32,32]",
        "model.coarse.roi_size=[16,32,32]", "model.channels=[8,16,32]", "model.coarse.channels=[8,16,32]",
    ]  # fmt: skip
    schedule = [
        "optimizer=adamw", "model.lr=0.01", "scheduler=poly", "augment=none", "model.samples_per_epoch=200",
        "model.foreground_fraction=0.8", "model.max_epochs=10", "+model.stages.coarse.trainer.max_epochs=4",
        "model.validate_every=10", "data.max_time=null",
    ]  # fmt: skip
    made = train(tmp_path, tmp_path / "run", *phantom, *sizes, *schedule, make=True)

    method = load_method(tmp_path / "run", "cpu")
    for case in made.dataset.split.train:
        image, reference = made.dataset.cases[case].image, made.dataset.cases[case].read_label().array
        tumor = reorient(method.segment_volume(read_volume(image))).array == 2
        assert 2 * (tumor & (reference == 2)).sum() / (tumor.sum() + (reference == 2).sum()) > 0.9


class TestWhatIsToldBeforeTheFirstStageIsTrained:
    def test_more_folds_than_training_cases(self, root, tmp_path):
        made = training(root, tmp_path, "model.prior=out_of_fold", "model.folds=99")

        with pytest.raises(InputError, match=r"model\.folds=99"):
            made.check()

    def test_one_checkpoint_for_several_stages(self, root, finished, tmp_path):
        file = finished.run.path / "stages" / "coarse" / "best.ckpt"
        made = training(root, tmp_path, f"init={file}")

        with pytest.raises(InputError, match="is one checkpoint, but the model has the stages coarse, fine"):
            made.check()

    def test_weights_that_fit_the_first_stage_and_not_the_second(self, root, finished, tmp_path):
        made = training(root, tmp_path, f"init={finished.run.path}", "model.prior=none")

        with pytest.raises(InputError, match="does not fit this model"):
            made.check()

    def test_weights_for_an_ensemble_of_finished_runs_which_trains_nothing(self, tmp_path):
        config = OmegaConf.create({"init": "nowhere", "model": {"stages": {}}})
        made = StageTraining(RunFolder(tmp_path), config, None, device=CPU, precision="32-true")

        with pytest.raises(InputError, match="init=nowhere gives weights to stages that are trained, and this ensembl"):
            made.check()

    def test_a_run_whose_stages_fit_is_no_fault(self, root, finished, tmp_path):
        training(root, tmp_path, f"init={finished.run.path}", "model.prior=out_of_fold", "model.folds=3").check()
