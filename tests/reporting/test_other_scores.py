from kidney_lab.metrics import metrics_frame
from kidney_lab.reporting.other_scores import other_scores_section


def frame(**values):
    return metrics_frame({f"c{k}": {("tumor", name): row[k] for name, row in values.items()} for k in range(2)})


def test_every_metric_beside_the_official_ones_has_a_row_per_run_that_has_it():
    tables = {"a": frame(dice=[0.5, 0.7], hd95=[4.0, 8.0]), "b": frame(hd95=[1.0, float("nan")], rvd=[-0.1, 0.3])}
    section = other_scores_section(tables, {"a": 0, "b": 1})

    assert [(row.run, *row.cells) for row in section.rows] == [
        ("a", "Tumor: Hausdorff distance, 95th percentile (mm) ↓", "6.000", "6.000", "2", "0"),
        ("b", "Tumor: Hausdorff distance, 95th percentile (mm) ↓", "1.000", "1.000", "1", "1"),
        ("b", "Tumor: Relative volume difference →0", "0.100", "0.100", "2", "0"),
    ]
    assert [row.kind for row in section.rows] == ["group", "", "group"]


def test_official_scores_alone_need_no_such_table():
    assert other_scores_section({"a": frame(dice=[0.5, 0.7])}, {}) is None


def test_counted_voxels_show_as_pooled_scores_with_what_accuracy_is_worth():
    counts = {"true_positives": [90, 5], "false_positives": [10, 0], "false_negatives": [0, 5]}
    scored = {"f1": [0.9, 2 / 3], "pixel_accuracy": [0.99, 0.95], "background_accuracy": [0.91, 0.90]}
    tables = {"a": frame(**scored, **counts, true_negatives=[900, 90]), "b": frame(f1=[0.5, 0.7])}
    section = other_scores_section(tables, {"a": 0, "b": 1})

    assert section.header[3] == "Pooled"
    shown = {(row.run, row.cells[0]): row.cells[3] for row in section.rows}
    assert shown == {
        ("a", "Tumor: F1 ↑"): "0.927",  # 190 / 205
        ("b", "Tumor: F1 ↑"): "—",
        ("a", "Tumor: Pixel accuracy ↑"): "0.986",
        ("a", "Tumor: Pixel accuracy of an empty prediction"): "0.909",
    }
    assert section.explanations == [
        "Pixel accuracy says little: nearly all voxels are background, so that a prediction that finds nothing "
        "reaches: on the cases scored here Tumor 0.905."
    ]
