"""Table 2 and Fig. 11 of Nagarajan and Ramprasath (IJETT 72(9), 2024), as printed."""

import pytest

from kidney_lab.composition.search_path import config_folder
from kidney_lab.metrics.scoring import COUNTS
from kidney_lab.reporting.published_scores import read_published
from kidney_lab.reporting.runs import read_run
from tests.reporting.published_tables import published_sections

EXPERIMENTS = config_folder().parent / "experiments"
FILE = EXPERIMENTS / "transfer_ensemble" / "published.json"

# Training and validation accuracy, loss, IoU, precision, recall, F1
TABLE_2 = {
    "Proposed System": (0.98, 0.95, 0.15, 0.85, 0.91, 0.87, 0.89),
    "SegNet": (0.95, 0.92, 0.20, 0.80, 0.87, 0.84, 0.85),
    "U-Net": (0.96, 0.94, 0.18, 0.82, 0.89, 0.86, 0.87),
    "DeepLabv3": (0.97, 0.96, 0.16, 0.86, 0.92, 0.90, 0.91),
}
METRICS = ("train_accuracy", "val_accuracy", "train_loss", "jaccard", "precision", "sensitivity", "f1")
# The picture of Fig. 11 is read by a machine as "0692 0.88 v9 : 0.85 0.85 0.78": the fourth bar cannot be told.
FIG_11 = {"Ensemble CNN": 0.92, "ResNet-50": 0.88, "VGG16": 0.85, "InceptionV3": None, "AlexNet": 0.78}


@pytest.mark.parametrize("level", ["case", "pooled"])
def test_the_numbers_are_those_that_the_paper_prints_once_as_means_and_once_as_pooled(level):
    scores = [score for score in read_published(FILE) if score.level in (level, None)]
    found = {table: {} for table in ("table2", "fig11_accuracy")}
    for score in scores:
        found[score.table].setdefault(score.row, []).append((score.metric, score.value))

    assert found["table2"] == {row: list(zip(METRICS, values, strict=True)) for row, values in TABLE_2.items()}
    assert found["fig11_accuracy"] == {row: [("pixel_accuracy", value)] for row, value in FIG_11.items()}


def test_no_number_stands_twice_and_all_are_of_the_kidney_or_of_the_training():
    scores = read_published(FILE)

    assert len({(s.table, s.row, s.key) for s in scores}) == len(scores)
    assert {(s.region, s.level is None) for s in scores} == {(None, True), ("kidney_and_mass", False)}


@pytest.fixture
def run_of(write_row):
    """A run of a row with two cases of unequal size."""

    def run(table, row):
        counts = {"a": (90, 10, 0, 900), "b": (5, 0, 5, 90)}
        values = {
            case: {
                **dict(zip(COUNTS, four, strict=True)),
                "jaccard": four[0] / sum(four[:3]),
                "pixel_accuracy": (four[0] + four[3]) / sum(four),
                "background_accuracy": (four[1] + four[3]) / sum(four),
            }
            for case, four in counts.items()
        }
        scores = {case: {("kidney_and_mass", n): v for n, v in named.items()} for case, named in values.items()}
        return read_run(write_row("run", row, scores, table=f"transfer_ensemble/{table}"))

    return run


def test_the_report_has_iou_of_cases_and_pooled_apart_with_marks_and_reasons(run_of):
    (section,) = published_sections([run_of("table2", "Proposed System")], EXPERIMENTS)
    lines = {tuple(row.cells[:3]): row.cells[3:] for row in section.rows}
    name, region = "Proposed System", "Kidney and mass"

    assert lines[name, region, "Jaccard index (IoU) \N{UPWARDS ARROW}"][0] == "0.700"
    pooled = lines[name, region, "Jaccard index (IoU), pooled \N{UPWARDS ARROW}"]
    assert pooled[0] == "0.864"  # 95 / 110
    assert pooled[3:] == ["\N{DAGGER} \N{DOUBLE DAGGER} 0.8500", "+0.014", "—"]
    assert lines[name, "", "Pixel accuracy in training \N{UPWARDS ARROW}"] == [
        "0.970",
        "1",
        "—",
        "0.9800",
        "-0.010",
        "—",
    ]
    assert lines[name, "", "Pixel accuracy in validation \N{UPWARDS ARROW}"][3:] == [
        "\N{DOUBLE DAGGER} 0.9500",
        "+0.010",
        "—",
    ]
    assert lines["DeepLabv3", region, "F1 \N{UPWARDS ARROW}"] == ["—", "—", "—", "0.9100", "—", "—"]
    impossible = (
        "As pooled counts no method can have these numbers: Jaccard index (IoU) is exactly d / (2 - d), d F1. Broken "
        "by Proposed System"
    )
    assert any(impossible in note for note in section.notes)
    assert any(note.endswith("Pixel accuracy in validation 0.9500, beside DeepLabv3 0.9600.") for note in section.notes)
    assert any(note.endswith("Jaccard index (IoU) 0.8500, beside DeepLabv3 0.8600.") for note in section.notes)
    assert "the epoch whose weights were kept" in section.caption
    assert "A number of which the paper does not say" in section.caption


def test_fig_11_has_the_accuracy_of_finding_nothing_beside_it_and_names_what_lies_below(run_of):
    (section,) = published_sections([run_of("fig11_accuracy", "Ensemble CNN")], EXPERIMENTS)
    lines = [tuple(row.cells) for row in section.rows if row.cells[0] in ("Ensemble CNN", "InceptionV3")]

    title = "Pixel accuracy of an empty prediction"
    assert [line[2] for line in lines if line[0] == "Ensemble CNN"] == [
        *("Pixel accuracy \N{UPWARDS ARROW}", title),
        *("Pixel accuracy, pooled \N{UPWARDS ARROW}", f"{title}, pooled"),
    ]
    assert [line[3][:5] for line in lines[:4]] == ["0.970", "0.905", "0.986", "0.909"]
    assert [line[6] for line in lines[4:]] == ["not readable", "not readable"]
    # (910 / 1000 + 90 / 100) / 2: the three bars that can be read and are lower
    assert section.explanations[1] == (
        "Published accuracies below that, if they are of whole scans as well: ResNet-50 (0.8800), VGG16 (0.8500), "
        "AlexNet (0.7800)."
    )


def test_a_table_of_our_own_has_every_score_of_the_papers(run_of):
    (section,) = published_sections([run_of("members", "VGG16")], EXPERIMENTS)

    shown = [row.cells[2] for row in section.rows]
    assert {"Jaccard index (IoU), pooled \N{UPWARDS ARROW}", "Pixel accuracy of an empty prediction"} <= set(shown)
