"""What a report is about: its runs, what they are compared with, and the tables that come of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from kidney_lab.errors import InputError
from kidney_lab.reporting.comparability import check_comparable, first_difference
from kidney_lab.reporting.differences import (
    Differences,
    choose_compared,
    differences,
    differences_section,
    find_run,
)
from kidney_lab.reporting.human import NAME, HumanAgreement
from kidney_lab.reporting.measured import runs_by_table
from kidney_lab.reporting.members import members_section
from kidney_lab.reporting.other_scores import other_scores_section
from kidney_lab.reporting.paper_rows import paper_tables
from kidney_lab.reporting.paper_table import paper_section
from kidney_lab.reporting.plot import PlotSet
from kidney_lab.reporting.published import published_section
from kidney_lab.reporting.row_costs import cost_section
from kidney_lab.reporting.row_differences import between_section
from kidney_lab.reporting.row_groups import RowGroup, averaged_runs, row_groups
from kidney_lab.reporting.row_plots import plot_sets
from kidney_lab.reporting.row_strata import row_strata_sections
from kidney_lab.reporting.runs import Run, read_run, read_runs
from kidney_lab.reporting.scores import ScoreRow, regions_of, score_rows
from kidney_lab.reporting.sections import TableSection
from kidney_lab.reporting.stages import stages_section
from kidney_lab.reporting.strata_tables import StratumScores, strata_section, stratum_scores
from kidney_lab.reporting.uncertainty import uncertainty_section


@dataclass(frozen=True)
class Choices:
    """What a user may choose of a report.

    Args:
        baseline: run that the others are compared with, by its name, its folder's name or its path, which need not be
            among the runs, or row of a paper's table that its other rows are; None: the first that can be compared.
        metrics: by which runs are compared: "official", "all", or names out of `metrics.csv`.
        pictures: whether scans are read for slice viewers and panels of cases.
        human: folder that `task=agreement` wrote, or None.
        by: column of `strata.csv` that sorts the cases of the tables by kind of case.
        experiments: folder of the papers' tables, which stand beside the runs of their rows; None: no such tables.
        mixed: report on runs that were not scored on the same cases, or in the same way, without tests where they
            cannot be paired.
        figures: whether every plot is written as PNG and PDF too.
    """

    baseline: str | None = None
    metrics: str | Sequence[str] = "official"
    pictures: bool = False
    human: Path | None = None
    by: str = "size"
    experiments: Path | None = None
    mixed: bool = False
    figures: bool = False


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

    @cached_property
    def plots(self) -> list[PlotSet]:
        """Pictures of rows and runs on the same data."""
        return plot_sets(self.runs, self.groups)

    @property
    def left_out(self) -> list[str]:
        """Sentences on what the tables leave out, each once, with the title of the table that it is about first."""
        about: dict[str, str] = {}
        for section in self.sections:
            for sentence in section.notes:
                about.setdefault(sentence, section.title)
        return [f"{title}: {sentence}" for sentence, title in about.items()]


def collect(paths: Sequence[Path], choices: Choices) -> Contents:
    """Reads runs and makes their tables.

    Args:
        paths: run folders, folders of scores, and others, which are skipped.
        choices: of the user.

    Returns:
        All that the report shows.

    Raises:
        InputError: if none of the paths is a run, a choice does not fit them, or they are not comparable and not said
            to be mixed.
    """
    runs, skipped, base = _runs_and_baseline(paths, choices.baseline)
    if not choices.mixed:
        check_comparable(runs)
    human = None if choices.human is None else HumanAgreement.read(choices.human)
    tables = {run.name: run.metrics for run in runs}
    color = {run.name: index for index, run in enumerate(runs)}
    regions = regions_of(tables.values())
    if human is not None and regions:
        tables[NAME] = human.of_regions(regions)
    groups = _groups(runs, base, choices)
    found = _differences(runs, groups, base, choices)
    strata, strata_notes = stratum_scores([run for run in runs if not (groups and run.experiment)], choices.by)
    published = _tables_of_papers(runs, groups, choices, human)
    sections = [
        *published,
        stages_section(runs),
        members_section(runs),
        uncertainty_section(runs),
        differences_section(found, runs) if found is not None else None,
        other_scores_section(tables, color),
        strata_section(strata, runs, by=choices.by, notes=strata_notes) if strata or strata_notes else None,
    ]
    if choices.mixed and first_difference(runs):  # of runs on other cases none is the best
        sections = [section and replace(section, best=()) for section in sections]
    of_rows = [run for group in groups for run in group.runs]
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


def _runs_and_baseline(paths: Sequence[Path], named: str | None) -> tuple[list[Run], list[str], Run | None]:
    """Reads the runs, with the baseline as the first of them where it is another.

    Args:
        paths: of the report.
        named: the baseline, see `Choices`.

    Returns:
        Runs; sentences on what is none; and the baseline, None where none is named, or a row.

    Raises:
        InputError: if none of the paths is a run, or the baseline is none.
    """
    runs, skipped = read_runs(paths)
    if named is None:
        return runs, skipped, None
    of_row = [run for run in runs if run.experiment and run.experiment[1] == named]
    base = None if len(of_row) > 1 else find_run(runs, named)
    if base is None and not of_row:
        runs, skipped = read_runs([_baseline_folder(named, runs), *paths])
        base = runs[0]
    return runs, skipped, base


def _groups(runs: Sequence[Run], base: Run | None, choices: Choices) -> list[RowGroup]:
    """Rows of papers' tables, with the baseline's row as the one that the others are compared with."""
    if choices.experiments is None:
        return []
    row = base.experiment[1] if base is not None and base.experiment else choices.baseline
    return [replace(group, baseline=row) for group in row_groups(runs, choices.experiments)]


def _differences(
    runs: Sequence[Run], groups: Sequence[RowGroup], base: Run | None, choices: Choices
) -> Differences | None:
    """Differences of single runs: of rows with several the rows are compared, unless the user chose a run."""
    seeds = averaged_runs(groups) if base is None else set()
    single = [run for run in runs if run.path not in seeds]
    return differences(single, metrics=choose_compared(choices.metrics, runs), baseline=base)


def _tables_of_papers(
    runs: Sequence[Run], groups: Sequence[RowGroup], choices: Choices, human: HumanAgreement | None
) -> list[TableSection]:
    """Tables of papers, each followed by the tests between its rows, the same stratum by stratum, and the costs."""
    if choices.experiments is None:
        return []
    sections: list[TableSection] = []
    for table, own in runs_by_table(runs).items():
        for paper in paper_tables(own, choices.experiments):
            sections += [paper_section(paper, human), published_section(paper, human)]
        for group in [group for group in groups if group.table == table]:
            sections += [tests] if (tests := between_section(group)) else []
            sections += row_strata_sections(group, choices.by)
            sections.append(cost_section(group))
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
