"""`task=report report=wandb`: a report and a workspace of finished runs, saved in W&B."""

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

import wandb

from kidney_lab.errors import InputError
from kidney_lab.reporting.contents import Choices, collect
from kidney_lab.reporting.runs import Run
from kidney_lab.wording import counted


def save_in_wandb(paths: Sequence[Path], choices: Choices) -> None:
    """Saves a report and a workspace of runs that W&B has, and prints where they are.

    Args:
        paths: run folders; others are skipped.
        choices: see `kidney_lab.reporting.html.write_report`.

    Raises:
        InputError: a package is missing, W&B cannot be reached, or the runs are not in one project of it.
    """
    refuse_missing_package()
    contents = collect(paths, choices)
    project, entity = project_of(contents.runs)
    account = default_entity()
    from kidney_lab.reporting.wandb_report import build_report, build_workspace  # needs the package

    report = build_report(contents, entity=entity or account, project=project)
    workspace = build_workspace(contents.runs, entity=entity or account, project=project)
    for sentence in contents.skipped:
        print(f"skipped {sentence}")
    print(f"report     {report.save().url}\nworkspace  {workspace.save().url}")


def refuse_missing_package() -> None:
    """Makes sure that reports of W&B can be made.

    Raises:
        InputError: the extra is not installed.
    """
    if importlib.util.find_spec("wandb_workspaces") is None:
        raise InputError("report=wandb needs the package wandb-workspaces: install kidney-lab[wandb].")


def default_entity() -> str:
    """Whom runs belong to unless they say it themselves: `WANDB_ENTITY`, or the account as the service knows it.

    Raises:
        InputError: W&B is switched off, there is no key of an account, or the service does not answer.
    """
    mode = os.environ.get("WANDB_MODE", "online")
    if mode not in ("online", "shared"):
        raise InputError(f"report=wandb is saved in W&B, and WANDB_MODE={mode} keeps away from it: unset WANDB_MODE.")
    try:
        api = wandb.Api()
        entity = api.settings["entity"] or api.default_entity
    except wandb.Error as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise InputError(
            f"report=wandb is saved in W&B, which cannot be reached ({reason}): run `wandb login`, or write the report "
            "into a folder by report=runs output=DIR."
        ) from error
    if entity is None:
        raise InputError("report=wandb finds no user or team of this account: name one by WANDB_ENTITY=<name>.")
    return str(entity)


def project_of(runs: Sequence[Run]) -> tuple[str, str | None]:
    """Project and entity that all runs are in; None for the entity of the account.

    Raises:
        InputError: a run is not in W&B, or they are in several projects.
    """
    apart = [str(run.path) for run in runs if "wandb" not in run.record]
    if apart:
        raise InputError(
            f"report=wandb shows runs that W&B has, and {apart[0]} ({len(apart)} of {counted(len(runs), 'run')}) was "
            "made without it: train with logger=wandb, or name other runs."
        )
    waiting = [folder for run in runs for folder in unsynced(run)]
    if waiting:
        raise InputError(
            "report=wandb shows runs that W&B has, and some are on this disk alone: upload what they logged offline by "
            f"`wandb sync {' '.join(map(str, waiting))}`."
        )
    places = {(str(run.record["wandb"]["project"]), run.record["wandb"]["entity"]) for run in runs}
    if len(places) > 1:
        named = "; ".join(sorted(f"{entity or 'own'}/{project}" for project, entity in places))
        raise InputError(f"runs= names runs of several projects of W&B ({named}): name those of one.")
    return places.pop()


def unsynced(run: Run) -> list[Path]:
    """Folders of what a run logged offline and nobody has uploaded: `wandb sync` leaves a mark beside the file."""
    folders = [run.path / folder for folder in run.record["wandb"]["folders"]]
    offline = [folder for folder in folders if folder.name.startswith("offline-")]
    return [folder for folder in offline if not any(folder.glob("*.wandb.synced"))]
