import json

from kidney_lab.reporting.html import write_report


def test_results_carry_scores_and_provenance_but_no_paths(make_run, tmp_path):
    run = make_run(
        overrides=["model=unet3d", "data.root=/elsewhere/mine/kits19", "prepare.root=/fast", "hydra.run.dir=x"],
        data={"name": "kits19", "root": "/elsewhere/mine/kits19", "synthesized": True, "n_test": 4, "split_hash": "a"},
    )
    text = write_report([run], tmp_path / "out").results.read_text()
    (result,) = json.loads(text)

    assert "/elsewhere/mine" not in text
    assert result["overrides"] == ["model=unet3d"]
    assert result["commit"] == "0123456789abcdef"
    assert result["seed"] == 7
    assert result["data"]["synthesized"] is True
    assert result["scores"]["tumor"]["dice"]["n"] == 3
    assert result["scores"]["tumor"]["dice"]["n_undefined"] == 1
    assert result["scores"]["tumor"]["dice"]["mean"] == 0.7
    assert result["scores"]["tumor"]["dice"]["median"] == 0.7


def test_an_undefined_score_is_null(make_run, tmp_path):
    run = make_run(dice={"case_00001": float("nan")})
    (result,) = json.loads(write_report([run], tmp_path / "out").results.read_text())

    assert result["scores"]["tumor"]["dice"]["mean"] is None


def test_a_run_that_was_compared_carries_its_differences(make_run, make_scores, tmp_path):
    cost = {"n": 4, "seconds": 12.5, "windows": 8, "flops": 1e12, "peak_mib": 900.0}
    report = write_report([make_run(cost_per_case=cost), make_scores()], tmp_path / "out")
    baseline, other = json.loads(report.results.read_text())

    assert "differences" not in baseline
    assert baseline["cost_per_case"] == cost
    assert (baseline["scores_only"], other["scores_only"]) == (False, True)
    differences = other["differences"]
    assert (differences["baseline"], differences["n_comparisons"]) == ("unet3d-kits19", 2)
    dice = differences["scores"]["tumor"]["dice"]
    assert (dice["mean"], dice["n"], dice["n_undefined"]) == (0.05, 3, 1)
    assert dice["wilcoxon_p"] == 0.25  # all three of one sign: 2 of 8
    assert dice["wilcoxon_p_holm"] == 0.5  # the other comparison has no difference at all, and counts
    assert differences["scores"]["tumor"]["surface_dice"]["wilcoxon_p"] == 1


def test_scores_by_stratum_are_kept(make_scores, tmp_path):
    sizes = {"case_00001": "<=2 cm", "case_00002": "<=2 cm", "case_00003": ">7 cm", "case_00004": ">7 cm"}
    (result,) = json.loads(write_report([make_scores(gain=0.0, sizes=sizes)], tmp_path / "out").results.read_text())

    assert list(result["strata"]) == ["<=2 cm", ">7 cm"]
    assert result["strata"]["<=2 cm"]["n_cases"] == 2
    assert result["strata"]["<=2 cm"]["tumor"]["dice"]["mean"] == 0.7
    assert result["strata"][">7 cm"]["tumor"]["dice"]["n_undefined"] == 1
