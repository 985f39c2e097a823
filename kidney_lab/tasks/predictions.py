"""`task=predictions`: a run folder of any tool's label maps of the test cases, such as nnU-Net's; nothing is trained.

The cases, their check, the scores and the files are those of the test phase of a training, without post-processing.
"""

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.progress import track

from kidney_lab.composition.messages import to_plain
from kidney_lab.data.dataset import Dataset
from kidney_lab.data.nifti import read_volume, write_volume
from kidney_lab.data.split_files.load import some
from kidney_lab.data.splits import Split
from kidney_lab.errors import InputError
from kidney_lab.files import replacing, write_text
from kidney_lab.geometry import reorient
from kidney_lab.metrics.case_scores import Scoring
from kidney_lab.metrics.evaluate import score_files
from kidney_lab.metrics.pairs import ScoredFiles, find_label_maps
from kidney_lab.metrics.scoring import choose_metrics
from kidney_lab.metrics.strata import strata_frame, write_strata
from kidney_lab.metrics.table import metrics_frame, read_metrics, write_metrics
from kidney_lab.reporting.contents import Choices
from kidney_lab.reporting.figures import save_case_panel
from kidney_lab.reporting.html import write_report
from kidney_lab.reporting.tables import print_scores
from kidney_lab.tasks.describe import describe_data
from kidney_lab.tasks.prepare import prepare_dataset
from kidney_lab.tasks.report import EXPERIMENTS
from kidney_lab.tasks.run_folder import RunFolder
from kidney_lab.tasks.testing import prediction_file, read_source_image
from kidney_lab.tasks.train import refuse_another_split, words_on_cases
from kidney_lab.tasks.values import check_values
from kidney_lab.wording import counted

_READ = ("task", "experiment", "data", "predictions", "metrics", "lesions", "prepare", "seed", "resume")
"""Keys that say something here; the others are of a training, and would name a model that was not used."""

log = logging.getLogger(__name__)


def score_predictions(config: DictConfig) -> None:
    """Copies the label maps into a run folder, scores them, and reports."""
    check_values(config)
    plain = to_plain(config)
    kept = OmegaConf.create({key: plain[key] for key in _READ})
    run = RunFolder.open(kept)
    folder = Path(config.predictions).expanduser()
    dataset: Dataset = instantiate(config.data, _convert_="all")
    scoring = Scoring(tuple(dataset.regions), choose_metrics(config.metrics), lesions=config.lesions)
    labels = label_maps(folder, dataset)
    refuse_trained_on(folder, dataset)
    prepare_dataset(dataset, config, dataset.split.scored_cases)
    refuse_another_split(run, dataset)
    run.record["name"] = f"{config.experiment.row or folder.resolve().name}-{dataset.name}"
    run.record.pop("seed", None)  # of what made the predictions, which is not known
    with run.recording(kept):
        run.update(data=describe_data(dataset), predictions=str(folder.resolve()), device="unknown hardware")
        write_split(run.path, dataset.split)
        keep_labels(run.path, labels)
        write_scores(run.path, dataset, labels, scoring, config.prepare.workers)
        save_pictures(run.path, dataset, painted=Path(config.prepare.root) / "painted")
    report = write_report([run.path], run.path / "report", Choices(experiments=EXPERIMENTS))
    title = f"{run.record['name']} ({dataset.split.scored}), {words_on_cases(run)}"
    print_scores(read_metrics(run.path / "metrics.csv"), title=title)
    print(f"report  {report.html}\nrun     {run.path}")


def write_split(run: Path, split: Split) -> None:
    """Writes the split into the run, as a training does."""
    write_text(run / "split.json", json.dumps({**asdict(split), "hash": split.hash}, indent=2) + "\n")


def label_maps(folder: Path, dataset: Dataset) -> dict[str, Path]:
    """The file of every case that is scored.

    Args:
        folder: of label maps, in either layout of `task=evaluate`; those of other cases are left out, which is told.
        dataset: whose test cases are scored, or validation cases where the split has no others.

    Raises:
        InputError: there is no such folder, or it lacks a case.
    """
    found, wanted = find_label_maps(folder, "predictions"), dataset.split.scored_cases
    absent = [case for case in wanted if case not in found]
    if absent:
        raise InputError.of(
            f"predictions={folder} lacks {len(absent)} of the {counted(len(wanted), f'{dataset.split.scored} case')} "
            f"of data={dataset.name}; nothing was scored:",
            absent,
        )
    others = sorted(found.keys() - {*wanted})
    if others:
        log.warning("Left out %s of predictions=%s: %s.", counted(len(others), "other case"), folder, some(others))
    return {case: found[case] for case in wanted}


def refuse_trained_on(folder: Path, dataset: Dataset) -> None:
    """Makes sure that nnU-Net was not trained on what it is tested on, where it was by `task=export format=nnunet`.

    nnU-Net leaves the `dataset.json` of its training beside its predictions.

    Raises:
        InputError: a test case was not among those that were kept from it.
    """
    try:
        described = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        kept_from_it = {*described["kidney_lab"]["test"]}
    except (OSError, ValueError, KeyError, TypeError):
        return  # of another tool or another export, of which nothing is known
    seen = sorted({*dataset.split.test} - kept_from_it)
    if seen:
        raise InputError(
            f"predictions={folder} are of an nnU-Net to which {counted(len(seen), 'test case')} of the split "
            f"{dataset.split.name} could be shown in training ({some(seen)}): export this very split for it, or choose "
            "the data.split that it was exported with."
        )


def keep_labels(run: Path, labels: Mapping[str, Path]) -> None:
    """Copies label maps into the run's `predictions/`, where reports look for them."""
    for case, file in labels.items():
        target = prediction_file(run, case)
        if file.name.endswith(".gz"):
            with replacing(target) as temporary:
                shutil.copyfile(file, temporary)
        else:
            write_volume(target, read_volume(file))


def write_scores(
    run: Path, dataset: Dataset, labels: Mapping[str, Path], scoring: Scoring, workers: int | None
) -> None:
    """Writes `metrics.csv`, `summary.json` and `strata.csv`; messages name the files that were given."""
    cases = {case: dataset.cases[case] for case in labels}
    files = [ScoredFiles(name, labels[name], case.label, case.image) for name, case in cases.items() if case.label]
    results = score_files(files, scoring, strata=True, workers=workers)
    write_strata(strata_frame({case: result.strata or {} for case, result in results.items()}), run)
    scores = metrics_frame({case: result.scores for case, result in results.items()})
    write_metrics(scores, run, scored=dataset.split.scored)


def save_pictures(run: Path, dataset: Dataset, *, painted: Path) -> None:
    """Writes `figures/<case>.png` of every case that was scored."""
    for name in track(dataset.split.scored_cases, "Drawing cases"):
        case = dataset.cases[name]
        image = reorient(read_source_image(case, painted))
        save_case_panel(
            run / "figures" / f"{name}.png",
            image=image.array,
            reference=case.read_label().array,
            prediction=reorient(read_volume(prediction_file(run, name))).array,
            spacing_mm=image.grid.spacing,
        )
