import pytest

from kidney_lab.errors import InputError
from kidney_lab.reporting.runs import read_run
from kidney_lab.reporting.uncertainty import COLUMNS, uncertainty_section


@pytest.fixture
def unsure(make_run):
    run = make_run()
    lines = [f"c{k},tumor,{','.join(str(value) for _ in COLUMNS)}" for k, value in enumerate((0.1, 0.3))]
    (run / "uncertainty.csv").write_text("\n".join([f"case,region,{','.join(COLUMNS)}", *lines, ""]))
    return run


def test_every_region_of_a_run_has_the_means_over_cases(unsure, make_run):
    section = uncertainty_section([read_run(make_run("sure")), read_run(unsure)])

    assert [(row.color, row.cells[0]) for row in section.rows] == [(1, "Tumor")]
    assert section.rows[0].cells[1:] == ["0.200"] * len(COLUMNS)
    assert section.by_run is False


def test_runs_without_it_have_no_such_table_and_damaged_ones_are_named(unsure, make_run):
    assert uncertainty_section([read_run(make_run("sure"))]) is None
    (unsure / "uncertainty.csv").write_text("case,region\nc0,tumor\n")
    with pytest.raises(InputError, match=r"uncertainty\.csv has no column ece: run the test phase again"):
        uncertainty_section([read_run(unsure)])
