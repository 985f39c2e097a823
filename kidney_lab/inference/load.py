"""Loads trained methods from what lies on disk: a run, a bundle, or several of them.

Whatever is loaded may be a stranger's. Its configuration calls nothing but parts of methods
(`kidney_lab.composition.allowlist`), and its weights are read as numbers: pickled code in them does not run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate

from kidney_lab.composition.allowlist import read_trust
from kidney_lab.errors import InputError
from kidney_lab.inference.checkpoints import read_checkpoint, weights_alone
from kidney_lab.inference.combine import Combination
from kidney_lab.inference.ensemble import Ensemble
from kidney_lab.inference.member_dice import member_dice
from kidney_lab.inference.member_runs import RunFiles, combination_of, read_run, refuse_exchanged
from kidney_lab.inference.method import TrainedMethod
from kidney_lab.inference.postprocessing import PostProcessing
from kidney_lab.inference.stage_weights import WEIGHTS, read_weights
from kidney_lab.methods.pipeline import enabled_stages
from kidney_lab.methods.stage import Stage

CHECKPOINT = "best.ckpt"
Paths = str | Path | Sequence[str | Path]


def load_method(
    run: Paths,
    device: str = "auto",
    trust: str | Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    *,
    unfinished: bool = False,
) -> TrainedMethod:
    """Loads the best weights of every stage, and the runs that are members of the run's ensemble.

    Args:
        run: folder that a training wrote, or a bundle that `task=export` wrote; or several, such as those of five
            folds, whose probabilities are averaged.
        device: `auto` (a GPU if there is one), `cpu`, `cuda` or any of torch's names.
        trust: names of packages, modules, classes or functions that the run may call beside the parts of methods that
            every run may, such as `my_lab.networks`. Code of theirs runs when the method is built.
        settings: of inference that are to be others than those that the run was trained with, by the names of
            `kidney_lab.methods.inference_settings.InferenceSettings`. Each run, and each member of its ensemble, keeps
            its own of the rest.
        unfinished: whether a run may still be trained, as by the training that loads its own; False refuses it.

    Returns:
        An object with `segment(image_hu, spacing_mm)` and `segment_file(path)`.

    Raises:
        InputError: a folder is no run or none that has finished, calls what it may not, one of its stages is not
            trained or does not fit its weights, or one of its members has moved or is another run by now; or several
            runs are the same, or cannot be averaged.
    """
    paths = [Path(run)] if isinstance(run, str | Path) else [Path(path) for path in run]
    chosen, names = choose_device(device), read_trust(trust)
    _refuse_doubles(paths)
    runs = [read_run(path, names, unfinished=unfinished) for path in paths]
    with weights_alone():
        given = settings or {}
        return _load(runs[0], chosen, given) if len(runs) == 1 else _average(runs, chosen, given)


def _refuse_doubles(paths: Sequence[Path]) -> None:
    if not paths:
        raise InputError("run=[] names no run: name the folder that a training printed.")
    twice = [path for path in paths if [other.resolve() for other in paths].count(path.resolve()) > 1]
    if twice:
        raise InputError(f"run=[{', '.join(map(str, paths))}] names {twice[0]} twice: name every run once.")


def _average(runs: Sequence[RunFiles], device: torch.device, settings: Mapping[str, Any]) -> TrainedMethod:
    """An ensemble of runs without a run of its own; its members are named by their numbers, from 1 on."""
    first = runs[0]
    for other in runs[1:]:
        if other.config.postprocessing != first.config.postprocessing:
            raise InputError(
                f"run=[{first.path}, {other.path}] differ in postprocessing ({dict(first.config.postprocessing)} and "
                f"{dict(other.config.postprocessing)}): name runs that agree in it, or make them one run by "
                "model=transfer_ensemble model.member_runs=[RUN,RUN]."
            )
    members = {str(number): _load(run, device, settings) for number, run in enumerate(runs, start=1)}
    try:
        Ensemble().output({name: member.output for name, member in members.items()})
    except InputError as error:
        raise InputError(f"run=[{', '.join(str(run.path) for run in runs)}] cannot be averaged: {error}") from error
    return TrainedMethod(
        {},
        device=device,
        precision=first.precision,
        combination=Ensemble(),
        postprocessing=PostProcessing(**first.config.postprocessing),
        members=members,
    )


def _load(run: RunFiles, device: torch.device, settings: Mapping[str, Any]) -> TrainedMethod:
    folders = {name: run.path / "stages" / name for name in enabled_stages(run.config.model.stages)}
    for folder in folders.values():
        if not any((folder / name).is_file() for name in (CHECKPOINT, WEIGHTS)):
            missing = (folder / CHECKPOINT).relative_to(run.path)
            raise InputError(f"run={run.path} has no {missing}: finish its training by resume={run.path}.")
    members = run.members()
    refuse_exchanged(run, members)
    return TrainedMethod(
        {name: load_stage(run.config.model.stages[name], folder) for name, folder in folders.items()},
        device=device,
        precision=run.precision,
        combination=_combination(run, [*folders, *members]),
        postprocessing=PostProcessing(**run.config.postprocessing),
        members={name: _load(member, device, settings) for name, member in members.items()},
        settings=replace(run.inference, **settings),
    )


def _combination(run: RunFiles, members: list[str]) -> Combination:
    """How the members of a run are combined, with the weights that it gave them."""
    combination, weights = combination_of(run.config), run.record.get("member_weights")
    if not isinstance(combination, Ensemble):
        return combination
    if weights is not None:
        return replace(combination, weights=[weights[name] for name in members])
    return combination.weighed(members, partial(member_dice, run))  # it is about to record them, or is an old one


def load_stage(config: object, folder: Path) -> Stage:
    """One stage with the weights of its best checkpoint, and with what it took from the training cases.

    Args:
        config: of the stage; whatever it names is called.
        folder: that its training wrote, or the stage's folder of a bundle.

    Raises:
        InputError: the weights cannot be read, or are not those of such a stage.
    """
    stage: Stage = instantiate(config, _convert_="all")
    state = read_checkpoint(folder / CHECKPOINT) if (folder / CHECKPOINT).is_file() else read_weights(folder / WEIGHTS)
    try:
        stage.module.load_state_dict(state)
    except (RuntimeError, TypeError) as error:
        details = " ".join(str(error).split())[:500]
        raise InputError(
            f"The weights in {folder} are not those of the stage that config.yaml says: {details}"
        ) from error
    stage.restore(folder)
    return stage


def choose_device(name: str, key: str = "device") -> torch.device:
    """The device of a name; `auto` is a GPU if there is one.

    Args:
        name: `auto`, `cpu`, `cuda` or any of torch's names.
        key: of the setting, for messages.

    Returns:
        The device.

    Raises:
        InputError: there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"{key}={name} is unknown: choose auto, cpu or a GPU.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"{key}={name} is not there: this machine shows no CUDA GPU; choose {key}=cpu.")
    return device
