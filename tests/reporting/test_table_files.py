import csv
import io

from kidney_lab.reporting.sections import TableRow, TableSection
from kidney_lab.reporting.table_files import section_csv, write_tables

HEADER = ("Score", "Difference, mean [95% CI]", "Cases", "Wilcoxon p (Holm)")


def section(**changes):
    rows = [
        TableRow("a, b", 0, ["Tumor: Dice ↑", "+0.012 [-0.003, +0.030]", "12 of 12", "<0.001 (0.002)"]),
        TableRow("c", 0, ["Volume →0", "—", "3 of 12", "— (—)"]),
    ]
    return TableSection(**{"id": "x", "title": "T", "caption": "C.", "header": HEADER, "rows": rows, **changes})


def test_intervals_and_corrected_p_values_are_columns_of_their_own():
    header, *rows = csv.reader(io.StringIO(section_csv(section())))

    mean = "Difference, mean"
    assert header == ["Run", "Score", mean, f"{mean}, low", f"{mean}, high", "Cases", "Wilcoxon p", "Wilcoxon p, Holm"]
    assert rows == [
        ["a, b", "Tumor: Dice", "+0.012", "-0.003", "+0.030", "12 of 12", "<0.001", "0.002"],
        ["c", "Volume", "", "", "", "3 of 12", "", ""],
    ]


def test_words_in_a_column_of_numbers_stay_whole():
    rows = [TableRow("", None, [">7 cm", "0.9 [0.8, 1.0]"]), TableRow("", None, ["<=2 cm", "no case in this stratum"])]
    text = section_csv(section(rows=rows, header=("Stratum", "Dice"), by_run=False))

    assert text.splitlines() == [
        'Stratum,Dice,"Dice, low","Dice, high"',
        ">7 cm,0.9,0.8,1.0",
        "<=2 cm,no case in this stratum,,",
    ]


def test_every_table_is_written_in_three_forms(tmp_path):
    written = write_tables([section(), section(id="y"), section(id="empty", rows=[])], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.csv", "x.md", "x.tex", "y.csv", "y.md", "y.tex"]
    assert sorted(written) == sorted(tmp_path.iterdir())
