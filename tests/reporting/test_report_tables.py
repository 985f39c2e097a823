import pandas as pd

from kidney_lab.reporting.html import write_report


def test_a_report_writes_all_its_tables(make_run, make_scores, tmp_path):
    write_report([make_run(), make_scores()], tmp_path / "out")
    tables = tmp_path / "out" / "tables"

    stems = {path.stem for path in tables.iterdir()}
    assert stems == {"runs", "scores", "differences", "cases", "cost"}
    assert len(list(tables.iterdir())) == 3 * len(stems)
    scores = pd.read_csv(tables / "scores.csv")
    tumor = scores[scores["Region"] == "Tumor"].set_index("Run")
    assert tumor["Dice, mean"].to_dict() == {"unet3d-kits19": 0.7, "nnunet": 0.75}
    assert "| nnunet | Tumor | **0.750** |" in (tables / "scores.md").read_text()
    assert r"\textbf{0.750} &" in (tables / "scores.tex").read_text()
    assert len(pd.read_csv(tables / "cases.csv")) == 8
