"""Whatever a paper publishes has a measured value beside it, once its rows have been run."""

import pytest
import yaml

from kidney_lab.composition.search_path import config_folder
from kidney_lab.metrics import metrics_frame, write_metrics
from kidney_lab.metrics.lesions import LESION_METRICS
from kidney_lab.metrics.scoring import MASK_METRICS, find_metric
from kidney_lab.metrics.strata import strata_frame, write_strata
from kidney_lab.reporting.formatting import MISSING
from kidney_lab.reporting.metric_words import metric_title
from kidney_lab.reporting.paper_metrics import GAINS, TITLES
from kidney_lab.reporting.published_scores import read_published
from kidney_lab.reporting.runs import read_run
from tests.reporting.published_tables import published_sections

EXPERIMENTS = config_folder().parent / "experiments"
PAPERS = sorted(path.parent.name for path in EXPERIMENTS.glob("*/published.json"))
REGIONS = ("kidney_and_mass", "mass", "tumor")
PAPER_ONLY = ("leaderboard_rank",)  # nothing here measures it: a challenge's leaderboard is closed


@pytest.fixture
def run_row(make_run):
    """Writes a run of a row that has every score of two cases: a small tumor, which is missed, and a large one."""

    def run(folder, paper, table, row, dataset):
        path = make_run(folder, {}, data={"name": dataset, "split_hash": "a"}, cost_per_case={"seconds": 1.0})
        (path / "config.yaml").write_text(yaml.safe_dump({"experiment": {"table": f"{paper}/{table}", "row": row}}))
        names = [*MASK_METRICS, *LESION_METRICS]
        scores = {
            case: {(region, name): value for region in REGIONS for name in names}
            for case, value in {"a": 0.0, "b": 0.5}.items()
        }
        write_metrics(metrics_frame(scores), path)
        kinds = {
            case: {
                **dict.fromkeys(("under_10_mm", "under_2_cm", "under_10_cm3"), case == "a"),
                **{f"{region}_gradient_hu_per_mm": 10.0 + ord(case) for region in ("kidney_and_mass", "tumor")},
            }
            for case in scores
        }
        write_strata(strata_frame(kinds), path)
        return read_run(path)

    return run


@pytest.mark.parametrize("paper", PAPERS)
def test_every_number_of_a_paper_stands_beside_what_its_row_measured(run_row, paper):
    published = read_published(EXPERIMENTS / paper / "published.json")
    rows = dict.fromkeys((score.table, score.runs_of or score.row, score.dataset or "kits19") for score in published)
    runs = [run_row(str(number), paper, *row) for number, row in enumerate(rows)]

    printed = [row.cells for section in published_sections(runs, EXPERIMENTS) for row in section.rows]
    only_published = {title for _, _, title, measured, *_, value, _ in printed if measured == MISSING != value}
    assert only_published <= {metric_title(name) for name in PAPER_ONLY}
    assert sum(cells[6] != MISSING for cells in printed) >= len(published)


@pytest.mark.parametrize("paper", PAPERS)
def test_every_metric_of_a_paper_has_a_title_of_its_own(paper):
    for score in read_published(EXPERIMENTS / paper / "published.json"):
        known = find_metric(score.metric) or score.metric in TITLES
        assert known or score.metric in ("mean_dice", *PAPER_ONLY), score.metric


def test_every_derived_metric_has_a_title():
    assert set(GAINS) <= set(TITLES)
    assert metric_title("dice_under_2_cm") == "Dice, under 2 cm ↑"
    assert metric_title("jaccard_gain_under_10_mm") == "Jaccard index (IoU), under 10 mm, gain over V-Net ↑"
