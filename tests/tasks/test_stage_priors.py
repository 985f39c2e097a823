"""What a stage hands on to the next in training: by itself, by networks of folds, or by the reference."""

import json
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from kidney_lab.data.priors import Priors
from kidney_lab.data.sampling import SampleKey
from kidney_lab.data.splits import Split
from kidney_lab.data.views.prior_input import one_hot
from kidney_lab.inference import priors as handing_on
from kidney_lab.inference.load import load_method, load_stage
from kidney_lab.inference.priors import prior_labels
from kidney_lab.inference.stage import predict_stage
from kidney_lab.methods import fit as fitting
from kidney_lab.tasks import stages as tasks
from kidney_lab.tasks.stages import StageTraining
from tests.support.cascade_runs import CPU, copied, recipe, rewrite, train, training

pytestmark = pytest.mark.filterwarnings("ignore")


class StageReached(Exception):  # noqa: N818  no error: it ends a training where the test wants it
    """Stands for the training of a stage."""


def data_of_fine(monkeypatch, root: Path, run: Path, *overrides: str):
    """The data that stage 2 would be trained and validated on; stage 1 is trained where it is not yet."""
    seen = []

    def capture(trainer, module, data, checkpoint):
        if data.train_samples.prior is None:
            return fit(trainer, module, data, checkpoint)
        seen.append(data)
        raise StageReached

    fit = fitting.fit
    with monkeypatch.context() as patched:
        patched.setattr(fitting, "fit", capture)
        with pytest.raises(StageReached):
            train(root, run, *overrides)
    return seen[0]


STILL = ("model.from_coarse.corrupt=null", "augment=none")


class TestPriorOfStage2:
    @pytest.mark.parametrize("kind", ["none", "reference", "predicted", "out_of_fold"])
    def test_training_sees_what_was_asked_for_and_validation_what_is_predicted(
        self, kind, monkeypatch, root, finished, tmp_path
    ):
        run = copied(finished.run.path, tmp_path / "run", unfinished="fine")
        data = data_of_fine(monkeypatch, root, run, f"model.prior={kind}", "model.folds=2", *STILL)
        grid = instantiate(recipe(root).model.stages.fine.grid, _convert_="all").key()[:12]
        stage_1 = Priors(run / "stages" / "coarse" / "priors" / grid)
        expected = {"predicted": stage_1, "out_of_fold": Priors(run / "stages" / "coarse" / "folds" / "priors" / grid)}

        sample = data.train_samples[SampleKey(0, 0)]
        assert sample["image"].shape[0] == (1 if kind == "none" else 4)
        if kind == "reference":
            assert torch.equal(sample["image"][1:], one_hot(sample["label"], [1, 2, 3]))
        if kind in expected:
            assert data.train_samples.prior.priors.path == expected[kind].path
            assert not expected[kind].missing(data.split.train)
        assert not data.train_samples.prior.places
        assert data.train_samples.view.jitter_mm > 0

        for validated in (data.val_samples.prior, SimpleNamespace(priors=data.val_priors, reference=False)):
            assert validated.priors.path == stage_1.path
            assert not validated.reference
        assert data.val_samples.prior.places
        assert data.val_samples[SampleKey(0, 0)]["image"].shape[0] == sample["image"].shape[0]

    def test_other_weights_of_stage_1_change_what_stage_2_sees_in_training_and_validation(
        self, monkeypatch, root, finished, tmp_path
    ):
        seen = {}
        for label in (0, 1):
            run = copied(finished.run.path, tmp_path / str(label), unfinished="fine")
            shutil.rmtree(run / "stages" / "coarse" / "priors")
            rewrite(run, favoured=label)
            data = data_of_fine(monkeypatch, root, run, *STILL)
            patches, cases = data.val_dataloader()
            seen[label] = {
                "training": data.train_samples[SampleKey(0, 0)],
                "validation": next(iter(patches)),
                "case": cases.dataset[0],
            }

        for label, parts in seen.items():
            assert bool((parts["training"]["image"][1] == 1).any()) == bool(label)
            assert bool((parts["validation"]["image"][:, 1] == 1).any()) == bool(label)
            assert bool((parts["case"]["prior"] == 1).any()) == bool(label)
        assert torch.equal(seen[0]["training"]["image"][0], seen[1]["training"]["image"][0])
        assert torch.equal(seen[0]["training"]["label"], seen[1]["training"]["label"])

    @pytest.mark.parametrize("kind", ["predicted", "out_of_fold"])
    def test_what_stage_2_is_trained_and_validated_on_is_predicted_by_the_settings_of_the_test_phase(
        self, monkeypatch, root, finished, tmp_path, kind
    ):
        run, settings = copied(finished.run.path, tmp_path / "run", unfinished="fine"), []
        shutil.rmtree(run / "stages" / "coarse" / "priors")
        predict = handing_on.predict_stage
        monkeypatch.setattr(
            handing_on,
            "predict_stage",
            lambda *stage, **how: settings.append(how["settings"]) or predict(*stage, **how),
        )
        chosen = ("inference.mirror_axes=[1,2]", f"model.prior={kind}", "model.folds=3")
        data = data_of_fine(monkeypatch, root, run, *STILL, *chosen)

        assert len(settings) == len(data.split.train) + len(data.split.val)
        assert {tuple(one.mirror_axes) for one in settings} == {(1, 2)}

    def test_other_weights_of_stage_1_change_what_stage_2_sees_of_a_new_scan(self, root, finished, tmp_path):
        seen = {}
        for label in (1, 2):
            run = copied(finished.run.path, tmp_path / str(label))
            rewrite(run, favoured=label)
            method = load_method(run, "cpu")
            windows = seen.setdefault(label, [])
            method.stages["fine"].module.network.register_forward_pre_hook(
                lambda _, inputs, kept=windows: kept.append(inputs[0].clone())
            )
            method.segment_file(root / "data" / "case_00000" / "imaging.nii.gz")

        for label, windows in seen.items():
            channels = torch.cat(windows).amax(dim=(0, 2, 3, 4))[1:].tolist()
            assert channels == [float(value == label) for value in (1, 2, 3)]

    def test_a_new_scan_gets_the_prior_that_validation_showed(self, root, finished):
        (case,) = finished.dataset.split.val
        method, shown = load_method(finished.run.path, "cpu"), []
        fine = method.stages["fine"]
        predict = fine.predict
        fine.predict = lambda image, prior, **given: shown.append(prior) or predict(image, prior, **given)

        method.segment_file(root / "data" / case / "imaging.nii.gz")

        stored = Priors(finished.run.path / "stages" / "coarse" / "priors" / fine.grid.key()[:12])
        np.testing.assert_array_equal(shown[0][0].numpy(), stored[case].label[...])


class TestOutOfFold:
    @pytest.fixture
    def marked(self, monkeypatch):
        """Networks that know what they were trained on, in the place of real ones; says which predicted which case."""
        trained: dict[Path, tuple[str, ...]] = {}
        predicted: list[tuple[str, tuple[str, ...]]] = []

        def fit_stage(name, *, split, checkpoints, config, **settings):
            assert config.init is None
            trained[checkpoints] = tuple(split.train)
            return {"trained_on": list(split.train)}

        def predict_priors(stage, cases, priors, **settings):
            for case in priors.missing(cases):
                predicted.append((case, stage))
                priors.write(case, np.zeros((2, 2, 2), np.uint8))

        monkeypatch.setattr(tasks, "fit_stage", fit_stage)
        monkeypatch.setattr(tasks, "load_stage", lambda config, folder: trained[folder])
        monkeypatch.setattr(tasks, "predict_priors", predict_priors)
        monkeypatch.setattr(StageTraining, "_store", lambda self, grid: None)
        monkeypatch.setattr(
            StageTraining, "_predict",
            lambda self, title, stage, cases, priors, grid, source: predict_priors(stage, cases, priors),
        )  # fmt: skip
        return predicted

    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize(("n_cases", "n_folds"), [(2, 2), (7, 3), (11, 5), (6, 6)])
    def test_no_case_s_prior_comes_from_a_network_that_saw_it(self, marked, root, tmp_path, n_cases, n_folds, seed):
        made = training(root, tmp_path, "model.prior=out_of_fold", f"model.folds={n_folds}", f"seed={seed}")
        cases = tuple(f"case_{k:05d}" for k in range(n_cases))
        made.dataset.split = Split(train=cases, val=("case_00090", "case_00091"), test=("case_00099",))
        fine = instantiate(made.stages["fine"], _convert_="all")

        made._training_priors(fine)

        assert Counter(case for case, _ in marked) == Counter(cases)
        for case, seen in marked:
            assert case not in seen
            assert set(seen) < set(cases)
        parts = made.run.record["folds"].values()
        assert all(not set(part["held_out"]) & set(part["trained_on"]) for part in parts)
        assert sorted(case for part in parts for case in part["held_out"]) == sorted(cases)

    def test_weights_that_may_have_seen_a_case_are_no_start_for_its_fold(self, marked, root, tmp_path):
        made = training(root, tmp_path, "model.prior=out_of_fold", "model.folds=3", "init=another_run")

        made._out_of_fold("coarse", instantiate(made.stages["fine"].grid, _convert_="all"), 3)

        assert len(marked) == 3
        assert made.config.init == "another_run"

    def test_every_prior_on_disk_is_by_the_network_of_its_own_fold(self, root, finished, tmp_path):
        run = copied(finished.run.path, tmp_path / "run", unfinished="fine")
        made = train(root, run, "model.prior=out_of_fold", "model.folds=3")
        fine = instantiate(made.stages["fine"], _convert_="all")
        record = json.loads((run / "run.json").read_text())
        priors = Priors(run / "stages" / "coarse" / "folds" / "priors" / fine.grid.key()[:12])

        assert list(record["folds"]) == [f"coarse/folds/{k}" for k in range(3)]
        assert list(record["stages"]) == ["coarse", "fine"]
        for part, facts in record["folds"].items():
            stage = load_stage(made.stages["coarse"], run / "stages" / part)
            stage.module.eval()
            for case in facts["held_out"]:
                image = made._store(stage.grid)[case].image[...]
                predicted = predict_stage(stage, image, None, device=CPU, precision="32-true")
                expected = prior_labels(predicted, made._store(fine.grid)[case].shape, stage.module.output)
                np.testing.assert_array_equal(priors[case].label[...], expected)
        # Statistics of intensities, too, are those of the other folds' cases.
        means = {json.loads(path.read_text())["mean"] for path in run.glob("stages/coarse/folds/*/intensity.json")}
        assert len(means) == 3
