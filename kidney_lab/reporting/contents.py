"""What a report is about: its runs, what they are compared with, and the tables that come of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kidney_lab.errors import InputError
from kidney_lab.reporting.differences import (
    Differences,
    choose_compared,
    differences,
    differences_section,
    find_run,
)
from kidney_lab.reporting.human import NAME, HumanAgreement
from kidney_lab.reporting.measured import runs_by_table
from kidney_lab.reporting.other_scores import other_scores_section
from kidney_lab.reporting.published import published_sections
from kidney_lab.reporting.row_differences import between_section
from kidney_lab.reporting.row_groups import RowGroup, row_groups
from kidney_lab.reporting.row_strata import row_strata_sections
from kidney_lab.reporting.runs import Run, read_run, read_runs
from kidney_lab.reporting.scores import ScoreRow, regions_of, score_rows
from kidney_lab.reporting.sections import TableSection
from kidney_lab.reporting.stages import stages_section
from kidney_lab.reporting.strata_tables import StratumScores, strata_section, stratum_scores


@dataclass(frozen=True)
class Choices:
    """What a user may choose of a report.

    Args:
        baseline: run that the others are compared with, by its name, its folder's name or its path, which need not be
            among the runs; None: the first that can be compared.
        metrics: by which runs are compared: "official", "all", or names out of `metrics.csv`.
        human: folder that `task=agreement` wrote, or None.
        by: column of `strata.csv` that sorts the cases of the tables by kind of case.
        experiments: folder of the papers' tables, which stand beside the runs of their rows; None: no such tables.
    """

    baseline: str | None = None
    metrics: str | Sequence[str] = "official"
    human: Path | None = None
    by: str = "size"
    experiments: Path | None = None


@dataclass(frozen=True, eq=False)
class Contents:
    """Runs and their tables.

    Args:
        runs: at least one.
        skipped: one sentence for each path that is no run.
        rows: scores of the runs and of the annotators, region by region.
        notes: sentences under the table of scores.
        differences: to a baseline; None where there are no two runs with scores.
        strata: scores of the tumor by kind of case, of every run; `sections` shows them by row where runs are of one.
        published: tables of papers beside the runs of their rows, each with the tests between its rows and its strata.
        groups: rows of these tables that were scored on the same data.
        sections: all tables after that of the scores.
    """

    runs: list[Run]
    skipped: list[str]
    rows: list[ScoreRow]
    notes: list[str]
    differences: Differences | None
    strata: list[StratumScores]
    published: list[TableSection]
    groups: list[RowGroup]
    sections: list[TableSection]

    @property
    def left_out(self) -> list[str]:
        """Sentences on what the tables leave out, each once."""
        return list(dict.fromkeys(sentence for section in self.sections for sentence in section.notes))


def collect(paths: Sequence[Path], choices: Choices) -> Contents:
    """Reads runs and makes their tables.

    Args:
        paths: run folders, folders of scores, and others, which are skipped.
        choices: of the user.

    Returns:
        All that the report shows.

    Raises:
        InputError: if none of the paths is a run, or a choice does not fit them.
    """
    runs, skipped = read_runs(paths)
    base = None if choices.baseline is None else find_run(runs, choices.baseline)
    if choices.baseline is not None and base is None:
        runs, skipped = read_runs([_baseline_folder(choices.baseline, runs), *paths])
        base = runs[0]
    human = None if choices.human is None else HumanAgreement.read(choices.human)
    tables = {run.name: run.metrics for run in runs}
    color = {run.name: index for index, run in enumerate(runs)}
    regions = regions_of(tables.values())
    if human is not None and regions:
        tables[NAME] = human.of_regions(regions)
    found = differences(runs, metrics=choose_compared(choices.metrics, runs), baseline=base)
    groups = [] if choices.experiments is None else row_groups(runs, choices.experiments)
    of_rows = [run for group in groups for run in group.runs]
    strata, strata_notes = stratum_scores([run for run in runs if run not in of_rows], choices.by)
    published = [] if choices.experiments is None else _tables_of_papers(runs, groups, choices.experiments, choices.by)
    sections = [
        *published,
        stages_section(runs),
        differences_section(found, runs) if found is not None else None,
        other_scores_section(tables, color),
        strata_section(strata, runs, by=choices.by, notes=strata_notes) if strata or strata_notes else None,
    ]
    return Contents(
        runs=runs,
        skipped=skipped,
        rows=score_rows(tables),
        notes=[human.words(runs)] if human is not None and regions else [],
        differences=found,
        strata=[*strata, *stratum_scores(of_rows, choices.by)[0]],
        published=published,
        groups=groups,
        sections=[section for section in sections if section is not None],
    )


def _tables_of_papers(
    runs: Sequence[Run], groups: Sequence[RowGroup], experiments: Path, by: str
) -> list[TableSection]:
    """Tables of papers, each followed by the tests between its rows, and by the same stratum by stratum."""
    sections: list[TableSection] = []
    for table, own in runs_by_table(runs).items():
        sections += published_sections(own, experiments)
        for group in [group for group in groups if group.table == table]:
            sections += [tests] if (tests := between_section(group)) else []
            sections += row_strata_sections(group, by)
    return sections


def _baseline_folder(named: str, runs: Sequence[Run]) -> Path:
    """Folder of a baseline that is none of the runs.

    Raises:
        InputError: there is no such folder, or it is no run.
    """
    folder = Path(named).expanduser()
    if not folder.is_dir():
        names = ", ".join(run.name for run in runs)
        raise InputError(f"baseline={named} is no run of this report: name one of {names}, or the folder of another.")
    try:
        read_run(folder)
    except InputError as error:
        raise InputError(f"baseline={named} cannot be the baseline: {error}") from error
    return folder
