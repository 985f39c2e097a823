"""`task=report`: tables, figures and one HTML file of finished runs, or of a dataset's clinical table."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf

from kidney_lab.composition.search_path import config_folder
from kidney_lab.data.case_ids import parse_cases
from kidney_lab.data.clinical import clinical_file, read_clinical
from kidney_lab.data.clinical.read import FILES
from kidney_lab.data.clinical.volumes import tumor_volumes
from kidney_lab.data.dataset import Dataset
from kidney_lab.data.kits import case_folders
from kidney_lab.data.split_files.load import some
from kidney_lab.errors import InputError
from kidney_lab.reporting.clinical import print_sections, write_clinical_report
from kidney_lab.reporting.clinical_comparison import PublishedTable
from kidney_lab.reporting.contents import Choices
from kidney_lab.reporting.html import write_report
from kidney_lab.wording import counted

EXPERIMENTS = config_folder().parent / "experiments"
PUBLISHED = EXPERIMENTS / "transfer_ensemble" / "table1_clinical.json"
"""Paper 003's description of its patients."""


def report(config: DictConfig) -> None:
    """Writes what `report` names: `runs` or `clinical`, or saves what `wandb` shows."""
    reports = {"runs": report_runs, "clinical": report_clinical, "wandb": report_wandb}
    if config.report not in reports:
        raise InputError(f"report={config.report} is unknown: choose one of {', '.join(reports)}.")
    reports[config.report](config)


def report_runs(config: DictConfig) -> None:
    """Writes `report.html` of finished runs and of scores, and its tables, directly into `output`."""
    folders, output = run_folders(config.runs), output_folder(str(config.output))
    written = write_report(folders, output, choices_of(config))
    for sentence in written.skipped:
        print(f"skipped {sentence}")
    print(f"report  {written.html}")


def report_wandb(config: DictConfig) -> None:
    """Saves a report and a workspace of finished runs in W&B."""
    from kidney_lab.tasks.wandb_report import save_in_wandb  # slow to import

    save_in_wandb(run_folders(config.runs), choices_of(config))


def output_folder(named: str) -> Path:
    """The folder of a report, which need not be there.

    Raises:
        InputError: it is a file, or a run's own.
    """
    output = Path(named)
    if output.exists() and not output.is_dir():
        raise InputError(f"output={named} is a file: name a folder for the report.")
    if (output / "run.json").is_file():
        raise InputError(f"output={named} is a run folder, whose tables and figures would be replaced: name another.")
    return output


def run_folders(runs: object) -> list[Path]:
    """Paths that `runs` names: one glob, or a list of them.

    Args:
        runs: of the configuration.

    Returns:
        Paths in the order of the list, each once.

    Raises:
        InputError: a glob matches nothing, or is none.
    """
    found: dict[Path, Path] = {}
    for pattern in runs if isinstance(runs, ListConfig) else [runs]:
        paths = expand(str(pattern))
        if not paths:
            raise InputError(f"runs={pattern} matches nothing: name run folders, for example runs='runs/*'.")
        found |= {path.resolve(): path for path in paths if path.resolve() not in found}
    return list(found.values())


def choices_of(config: DictConfig) -> Choices:
    """What the configuration chooses of a report of runs.

    Raises:
        InputError: `published` is no folder.
    """
    return Choices(
        baseline=None if config.baseline is None else str(config.baseline),
        pictures=bool(config.pictures),
        metrics=[str(name) for name in config.metrics] if OmegaConf.is_list(config.metrics) else str(config.metrics),
        human=None if config.human is None else Path(str(config.human)).expanduser(),
        by=str(config.by),
        experiments=EXPERIMENTS if config.published is None else _published_folder(str(config.published)),
        mixed=bool(config.mixed),
        figures=bool(config.figures),
    )


def _published_folder(named: str) -> Path:
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise InputError(
            f"published={named} is no folder: name one that holds <paper>/published.json, or leave it out for this "
            "project's own."
        )
    return folder


def report_clinical(config: DictConfig) -> None:
    """Prints the clinical table of `data` and writes its report, by default into `runs/clinical-<data>`."""
    dataset: Dataset = instantiate(config.data, _convert_="all")
    if dataset.make is not None:
        raise InputError(f"data={dataset.name} is made up and has no patients: choose data=kits19, kits21 or kits23.")
    file = clinical_file(dataset.folder)
    if file is None:
        raise InputError(
            f"data.root={dataset.root} holds no clinical table ({' or '.join(FILES)}): fetch it with "
            "task=download data=kits19 (or kits21, kits23), or copy the challenge's file there."
        )
    table = chosen_patients(read_clinical(file), dataset.only, file)
    # A chosen patient needs no scan here, and what there is needs no split.
    cases = replace(dataset, only=None, test_root=None).cases.values() if case_folders(dataset.folder) else ()
    volumes = tumor_volumes([case for case in cases if case.id in table.index], workers=config.prepare.workers)
    if not volumes.empty:
        table = table.join(volumes)
    published = PublishedTable.read(PUBLISHED)
    is_named = not OmegaConf.is_missing(config, "output")
    output = Path(config.output if is_named else f"runs/clinical-{dataset.name}")
    written = write_clinical_report(table, published=published, name=dataset.name, source=file, output=output)
    print_sections(written.sections)
    print(f"report  {written.html}")


def chosen_patients(table: pd.DataFrame, chosen: object, file: Path) -> pd.DataFrame:
    """The patients of `data.cases`, or all.

    Raises:
        InputError: the table lacks one of them.
    """
    if chosen is None:
        return table
    cases = parse_cases(chosen)
    missing = [case for case in cases if case not in table.index]
    if missing:
        raise InputError(
            f"data.cases={chosen} names {counted(len(missing), 'patient')} that {file} does not hold: {some(missing)}; "
            "choose others, or leave data.cases out."
        )
    return table.loc[cases]


def expand(pattern: str) -> list[Path]:
    """Paths that a glob matches; the part of it that exists is itself, brackets and all.

    Args:
        pattern: such as `runs/*` or `~/runs/*`, or the path of one run.

    Returns:
        Matches, sorted; none where nothing matches.

    Raises:
        InputError: it is no glob.
    """
    fixed, rest = _home(pattern), list[str]()
    while not fixed.exists():
        rest.insert(0, fixed.name)
        fixed = fixed.parent
    try:
        return sorted(fixed.glob("/".join(rest))) if rest else [fixed]
    except ValueError as error:  # such as "**" with more in the same part of the path, before Python 3.13
        raise InputError(
            f"runs={pattern} is no pattern of paths ({error}): name run folders, for example runs='runs/*'."
        ) from error


def _home(pattern: str) -> Path:
    """The pattern with `~` as the home folder; an unknown user's, like a name that begins so, means itself."""
    path = Path(pattern)
    try:
        return path if path.exists() else path.expanduser()
    except RuntimeError:
        return path
