import json

from kidney_lab.reporting.html import write_report


def test_results_carry_scores_and_provenance_but_no_paths(make_run, tmp_path):
    run = make_run(
        overrides=["model=unet3d", "data.root=/elsewhere/mine/kits19", "hydra.run.dir=x"],
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
