from kidney_lab.reporting.sections import TableRow, TableSection, section_markdown


def section(**changes):
    rows = [TableRow("a|b", 0, ["Tumor", "0.5"]), TableRow("c", None, ["Tumor", "0.6"])]
    return TableSection(
        **{"id": "x", "title": "Title", "caption": "Means.", "header": ("Score", "Mean"), "rows": rows, **changes}
    )


def test_a_section_is_heading_caption_notes_and_a_table_with_the_runs_in_front():
    assert section_markdown(section(notes=["But not d."])) == [
        "## Title",
        "",
        "Means.",
        "",
        "But not d.",
        "",
        "| Run | Score | Mean |",
        "| --- | --- | ---: |",
        r"| a\|b | Tumor | 0.5 |",
        "| c | Tumor | 0.6 |",
        "",
    ]


def test_explanations_stand_below_the_table():
    lines = section_markdown(section(notes=["But not d."], explanations=["Of three runs."]))

    assert lines[lines.index("| c | Tumor | 0.6 |") :] == ["| c | Tumor | 0.6 |", "", "Of three runs.", ""]


def test_one_run_needs_no_column_for_it():
    assert "| Tumor | 0.5 |" in section_markdown(section(by_run=False))


def test_without_rows_there_are_the_notes_alone():
    assert section_markdown(section(rows=[], notes=["Nothing."])) == ["## Title", "", "Nothing.", ""]
