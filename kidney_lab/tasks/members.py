"""Finished runs as members of a run's ensemble: which they are, whether they may be members, and what they cost."""

import json
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from kidney_lab.composition.counted_stages import counted_stages
from kidney_lab.composition.messages import to_plain
from kidney_lab.data.dataset import Dataset
from kidney_lab.data.split_files.load import some
from kidney_lab.errors import InputError
from kidney_lab.inference.ensemble import Ensemble
from kidney_lab.inference.member_dice import member_dice, run_dice
from kidney_lab.inference.member_runs import (
    KEY,
    RunFiles,
    combination_of,
    member_paths,
    output_of,
    read_members,
    read_run,
)
from kidney_lab.inference.member_weights import choose_weights
from kidney_lab.methods.pipeline import enabled_stages
from kidney_lab.tasks.run_folder import RunFolder, is_first_process

log = logging.getLogger(__name__)


def settle_member_runs(config: DictConfig) -> None:
    """Settles what a configuration leaves to the member runs that it names.

    Their paths become absolute, so that the run finds them from any working directory. An ensemble of finished runs
    alone is post-processed as they are, if they are alike in that and nobody has chosen anything else.

    Args:
        config: the whole configuration, which is changed.

    Raises:
        InputError: they are no list of paths, or one of them is no finished run.
    """
    paths = member_paths(config)
    if not paths:
        return
    OmegaConf.update(config, KEY, [str(Path(path).expanduser().resolve()) for path in paths])
    if _leaves_postprocessing_open(config):
        first, *others = (to_plain(run.config.postprocessing) for run in read_members(config).values())
        if all(other == first for other in others):
            OmegaConf.update(config, "postprocessing", first)


def _leaves_postprocessing_open(config: DictConfig) -> bool:
    """Whether a run has no stage of its own, and its post-processing is still what the model refers it to."""
    settings = config.postprocessing
    return not enabled_stages(config.model.stages) and all(
        OmegaConf.is_interpolation(settings, key) for key in settings
    )


def check_members(config: DictConfig, dataset: Dataset) -> dict[str, RunFiles]:
    """Makes sure that the member runs are finished, know a region that is scored, and have not seen what is scored.

    Args:
        config: the whole configuration.
        dataset: whose test cases are scored, or validation cases where the split has no others.

    Returns:
        The member runs by name.

    Raises:
        InputError: one of them may not be a member.
    """
    members = read_members(config)
    combination = combination_of(config)
    if members and not isinstance(combination, Ensemble):
        raise InputError(
            f"{KEY} is read by an ensemble, and model.combination is {type(combination).__name__}: choose "
            "model=transfer_ensemble, or leave it out."
        )
    for run in members.values():
        refuse_other_regions(run, dataset)
        refuse_seen_cases(run, dataset)
        if isinstance(combination, Ensemble) and combination.weights == "validation_dice":
            run_dice(run)
    return members


def refuse_other_regions(run: RunFiles, dataset: Dataset) -> None:
    """Makes sure that a member predicts something that is scored.

    Raises:
        InputError: it does not.
    """
    regions = output_of(run.config, run.members()).regions
    if not set(regions) & set(dataset.regions):
        raise InputError(
            f"{KEY} names {run.path}, which predicts {', '.join(regions)}, and data={dataset.name} is scored by "
            f"{', '.join(dataset.regions)}: leave that run out."
        )


def refuse_seen_cases(run: RunFiles, dataset: Dataset) -> None:
    """Makes sure that a member, and none of its own members, was trained on a case that is scored, or chosen by one.

    A member of another fold of the same test is none that was. Where a split has no test cases, validation cases are
    scored, and a member may have been chosen by them as this run's own stages are. The phantom's cases are named as
    KiTS's are and are others.

    Raises:
        InputError: names the cases.
    """
    for member in run.members().values():
        refuse_seen_cases(member, dataset)
    made = OmegaConf.select(run.config, "data.make") is not None
    if not run.record["stages"] or made != (dataset.make is not None):
        return
    split = json.loads((run.path / "split.json").read_text(encoding="utf-8"))
    parts = {"trained on": "train", "chosen by": "val"} if dataset.split.test else {"trained on": "train"}
    for how, part in parts.items():
        seen = sorted({*dataset.split.scored_cases} & {*split[part]})
        if seen:
            raise InputError(
                f"{KEY} names {run.path}, which was {how} {some(seen)}, and this run's {dataset.split.scored} scores "
                "them: name runs of the same split, or leave that run out."
            )


def record_members(run: RunFolder, config: DictConfig, members: Mapping[str, RunFiles]) -> None:
    """Writes into `run.json`, once, who the member runs are; says so if they leave it open how to post-process.

    Args:
        run: whose members they are; none, and it is left alone.
        config: the whole configuration, settled.
        members: by name.
    """
    if not members:
        return
    if "members" not in run.record:
        run.update(members=describe_members(members))
    if _leaves_postprocessing_open(config) and is_first_process():
        log.warning(
            "The member runs differ in their post-processing, so that nothing is post-processed: choose by "
            "postprocessing.keep=two_kidneys and postprocessing.drop_detached_lesions=true, for instance."
        )


def record_weights(run: RunFolder, trust: Sequence[str] = ()) -> None:
    """Writes into `run.json`, once, how much every member of an ensemble counts, as soon as its stages are trained.

    Args:
        run: whose stages are trained.
        trust: what it may call beside what every run may, see `kidney_lab.load_method`.

    Raises:
        InputError: members that are weighed by their validation Dice have none.
    """
    if not is_first_process() or "member_weights" in run.record:
        return
    files = read_run(run.path, trust, unfinished=True)
    combination = combination_of(files.config)
    if isinstance(combination, Ensemble):
        names = [*enabled_stages(files.config.model.stages), *files.members()]
        numbers = choose_weights(combination.weights, names, partial(member_dice, files))
        run.update(member_weights=dict(zip(names, numbers, strict=True)))


def describe_members(members: Mapping[str, RunFiles]) -> dict[str, Any]:
    """What `run.json` says of the member runs: where they are, what they were made with, and what their networks cost.

    Args:
        members: by name.

    Returns:
        By name `run`, `name`, `seed`, `commit`, `config_hash`, `started`, and `parameters` and `flops` (of one forward
        pass of each stage's sample) of all networks that the member computes, a stage that another contains with that
        one.
    """
    known = ("name", "seed", "commit", "config_hash", "started")
    return {
        name: {
            "run": str(run.path),
            **{key: run.record.get(key) for key in known},
            **{what: total_of(run, what) for what in ("parameters", "flops")},
        }
        for name, run in members.items()
    }


def total_of(run: RunFiles, what: str) -> int:
    """Sum over the stages of a run and of its members; a stage that another contains counts with that one."""
    stages = run.record["stages"]
    own = sum(int(stages[name][what]) for name in counted_stages(run.config, stages))
    return own + sum(total_of(member, what) for member in run.members().values())
