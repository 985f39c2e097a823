"""The test phase of a training: segment the cases that are scored once, at the end, and score them officially."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from rich.progress import track

from kidney_lab.data.dataset import Dataset
from kidney_lab.data.kits import Case
from kidney_lab.data.nifti import read_grid, read_volume, write_volume
from kidney_lab.data.painted import painted_once
from kidney_lab.errors import InputError
from kidney_lab.geometry import Volume, reorient
from kidney_lab.inference.cost import CostMeter
from kidney_lab.inference.cost_table import gather_costs, keep_cost, summarize_costs
from kidney_lab.inference.load import load_method
from kidney_lab.inference.member_runs import output_of, read_members, read_run
from kidney_lab.methods.pipeline import enabled_stages
from kidney_lab.metrics.case_scores import LESION_REGIONS, Scoring
from kidney_lab.metrics.evaluate import score_files
from kidney_lab.metrics.pairs import ScoredFiles
from kidney_lab.metrics.scoring import choose_metrics
from kidney_lab.metrics.strata import strata_frame, write_strata
from kidney_lab.metrics.table import metrics_frame, write_metrics
from kidney_lab.process_group import place, wait_for_all
from kidney_lab.reporting.figures import save_case_panel
from kidney_lab.tasks.heat_pictures import save_case_heatmaps
from kidney_lab.tasks.uncertainty import save_uncertainty


def segment_scored_cases(run: Path, dataset: Dataset, device: str, *, painted: Path, trust: Sequence[str] = ()) -> None:
    """Writes `predictions/<case>.nii.gz` on every image's own grid, a picture and what it took; ranks share the cases.

    Beside it what led there: `stages/<name>/predictions/` of the stages that the result is made of,
    `members/<n>/predictions/` of the runs that are members, `heatmaps/` of a stage that looks into a detector,
    `uncertainty/` of an ensemble, and `unprocessed/`, where post-processing changed something. Cases that are there
    already, from before an interruption, are kept.

    Args:
        run: the run folder.
        dataset: whose test cases are segmented, or validation cases where the split has no others.
        device: to compute on.
        painted: folder that keeps the images of cases that have none, see `painted_once`.
        trust: what the run may call beside what every run may, see `kidney_lab.load_method`.
    """
    rank, world_size = place()
    missing = [case for case in dataset.split.scored_cases if not prediction_file(run, case).is_file()]
    if missing:
        method = load_method(run, device, trust, unfinished=True)  # by its own training
        meter = CostMeter(method)
        for name in track(missing[rank::world_size], f"Segmenting {dataset.split.scored} cases", disable=rank > 0):
            case = dataset.cases[name]
            image = read_source_image(case, painted)
            segmentation, cost = meter.segment(image, name)
            ipl, reference = reorient(image), case.read_label().array
            save_case_panel(
                run / "figures" / f"{name}.png",
                image=ipl.array,
                reference=reference,
                prediction=reorient(segmentation.labels).array,
                spacing_mm=ipl.grid.spacing,
            )
            save_case_heatmaps(run, method, name, ipl, reference)
            keep_cost(run, name, cost)
            save_uncertainty(run, method, name, image, segmentation, reference, dataset.regions)
            for stage, labels in segmentation.earlier.items():
                write_volume(prediction_file(run / "stages" / stage, name), labels())
            for member, labels in segmentation.members.items():
                write_volume(prediction_file(run / "members" / member, name), labels())
            if not np.array_equal(segmentation.unprocessed.array, segmentation.labels.array):
                write_volume(unprocessed_file(run, name), segmentation.unprocessed)
            write_volume(prediction_file(run, name), segmentation.labels)  # last: then it is not segmented again
    wait_for_all()


def read_source_image(case: Case, painted: Path) -> Volume:
    """The image on its file's own grid, as `task=predict` would read it; a painted one on its reference's."""
    if case.image is not None:
        return read_volume(case.image)
    image = painted_once(case, painted) if case.synthesize else case.read_image()
    return reorient(image, read_grid(case.label).orientation) if case.label is not None else image


def scoring_of(config: DictConfig) -> Scoring:
    """What the test cases are scored by: the data's regions that the method predicts.

    Lesions are scored where one of these regions has any.

    Raises:
        InputError: `metrics` names an unknown one, `lesions` needs a region that the data has not, or the method
            predicts none of its regions.
    """
    everything = Scoring(tuple(config.data.regions), choose_metrics(config.metrics), lesions=config.lesions)
    predicted = output_of(config, read_members(config)).regions
    regions = tuple(region for region in everything.regions if region in predicted)
    if not regions:
        raise InputError(
            f"The model predicts {', '.join(predicted)}, and data={config.data.name} is scored by "
            f"{', '.join(everything.regions)}: choose a model.target that the data has."
        )
    return replace(
        everything, regions=regions, lesions=everything.lesions and not {*LESION_REGIONS}.isdisjoint(regions)
    )


def write_scores(run: Path, dataset: Dataset, workers: int | None, scoring: Scoring, trust: Sequence[str] = ()) -> None:
    """Writes `metrics.csv`, `summary.json` and `strata.csv` of the test cases, or of validation cases without any.

    The strata are what the references say of their cases, and the images where these are files. `summary.json` has the
    scores before post-processing beside those after it; `unprocessed/` has them for every case, where post-processing
    changed one. The stages and the member runs that the result is made of have such files of their own in
    `stages/<name>/` and `members/<n>/`: the official scores of the regions that they predict.
    """
    references = {name: path for name in dataset.split.scored_cases if (path := dataset.cases[name].label)}
    images = {name: dataset.cases[name].image for name in references}
    files = [ScoredFiles(name, prediction_file(run, name), path, images[name]) for name, path in references.items()]
    results = score_files(files, scoring, strata=True, workers=workers)
    write_strata(strata_frame({case: result.strata or {} for case, result in results.items()}), run)
    scores = {case: result.scores for case, result in results.items()}
    changed = {name: file for name in references if (file := unprocessed_file(run, name)).is_file()}
    before = scores | _scores(changed, references, scoring, workers)
    scored = dataset.split.scored
    write_metrics(metrics_frame(scores), run, scored=scored, before=metrics_frame(before))
    if changed:
        write_metrics(metrics_frame(before), run / "unprocessed", scored=scored)
    for folder, regions in predicted_regions(run, dataset, trust).items():
        if regions and (folder / "predictions").is_dir():
            labels = {name: prediction_file(folder, name) for name in references}
            parts = _scores(labels, references, Scoring(regions=regions), workers)
            write_metrics(metrics_frame(parts), folder, scored=scored)


def predicted_regions(run: Path, dataset: Dataset, trust: Sequence[str] = ()) -> dict[Path, tuple[str, ...]]:
    """Those of a dataset's regions that each stage and member of a run predicts, by the folder of its label maps."""
    files = read_run(run, trust, unfinished=True)
    stages = enabled_stages(files.config.model.stages)
    predicted = {run / "stages" / name: stage.module.output.regions for name, stage in stages.items()}
    for name, member in files.members().items():
        predicted[run / "members" / name] = output_of(member.config, member.members()).regions
    return {
        folder: tuple(region for region in dataset.regions if region in regions)
        for folder, regions in predicted.items()
    }


def _scores(
    predictions: Mapping[str, Path], references: Mapping[str, Path], scoring: Scoring, workers: int | None
) -> dict[str, Mapping[tuple[str, str], float]]:
    """Scores of further label maps of the same cases."""
    if not predictions:
        return {}
    files = [ScoredFiles(name, path, references[name]) for name, path in predictions.items()]
    results = score_files(files, scoring, strata=False, workers=workers)
    return {case: result.scores for case, result in results.items()}


def write_costs(run: Path, dataset: Dataset) -> dict[str, Any] | None:
    """Writes `cost.csv` of the cases that were segmented.

    Returns:
        What `run.json` says of one case, see `summarize_costs`; None where nothing was measured.
    """
    return summarize_costs(gather_costs(run, dataset.split.scored_cases))


def prediction_file(run: Path, case: str) -> Path:
    """Where a run, or a stage's folder in it, keeps the label map of a case."""
    return run / "predictions" / f"{case}.nii.gz"


def unprocessed_file(run: Path, case: str) -> Path:
    """Where the run keeps the label map of a case before post-processing, if that changed it."""
    return run / "unprocessed" / f"{case}.nii.gz"
