import base64
from pathlib import Path

from kidney_lab.reporting.panels import choose_panels, confidence_panels, heatmap_panels
from kidney_lab.reporting.runs import read_run, read_runs


def keep_pictures(run: Path, *cases: str) -> Path:
    (run / "figures").mkdir()
    for case in cases:
        (run / "figures" / f"{case}.png").write_bytes(case.encode())
    return run


def test_one_run_shows_worst_median_and_best_case(make_run):
    run = read_run(keep_pictures(make_run(), "case_00001", "case_00002", "case_00003", "case_00004"))
    panels = choose_panels([run])
    assert [panel.caption.split(". ")[0] for panel in panels] == [
        "Worst case: case_00002",
        "Median case: case_00003",
        "Best case: case_00001",
    ]
    assert "Tumor Dice 0.500, rank 1 of 3" in panels[0].caption
    assert base64.b64decode(panels[0].png) == b"case_00002"


def test_pictures_of_some_cases_only_are_said_to_be_so(make_run):
    (panel,) = choose_panels([read_run(keep_pictures(make_run(), "case_00003"))])
    assert panel.caption.startswith(
        "Worst case of the 1 cases with a picture: case_00003. Tumor Dice 0.700, rank 2 of 3"
    )


def test_several_runs_show_the_same_case(make_run):
    paths = [keep_pictures(make_run(name), "case_00002", "case_00001") for name in "ab"]
    panels = choose_panels(read_runs(paths)[0])
    assert ["case_00002" in panel.caption for panel in panels] == [True, True]


def test_run_without_pictures_or_scores_has_no_panels(make_run):
    assert choose_panels([read_run(make_run("a"))]) == []
    assert choose_panels([read_run(make_run("b", dice={}))]) == []


def keep_confidence(run: Path, *stages: str) -> Path:
    for stage in stages:
        (run / "stages" / stage).mkdir(parents=True)
        (run / "stages" / stage / "confidence.png").write_bytes(stage.encode())
    return run


def test_one_run_shows_what_its_discriminators_see_stage_by_stage(make_run):
    run = make_run(stages={name: {} for name in ("coarse", "kidney", "tumor")})
    panels = confidence_panels([read_run(keep_confidence(run, "tumor", "kidney"))])

    assert [base64.b64decode(panel.png) for panel in panels] == [b"kidney", b"tumor"]
    assert panels[0].caption.startswith("Discriminator of stage kidney after its last validation")


def test_several_runs_show_no_confidence(make_run):
    runs, _ = read_runs([keep_confidence(make_run(name), "fine") for name in "ab"])
    assert confidence_panels(runs) == []


def keep_heatmaps(run: Path, *cases: str) -> Path:
    (run / "heatmaps").mkdir()
    for case in cases:
        (run / "heatmaps" / f"{case}.png").write_bytes(case.encode())
    return run


def test_one_run_shows_the_heat_maps_of_worst_median_and_best_case(make_run):
    panels = heatmap_panels([read_run(keep_heatmaps(make_run(), "case_00001", "case_00002", "case_00003"))])

    assert [base64.b64decode(panel.png) for panel in panels] == [b"case_00002", b"case_00003", b"case_00001"]
    assert panels[0].caption.startswith("Worst case: case_00002, the slices with most kidney and most tumor.")


def test_several_runs_show_the_worst_and_the_median_heat_map_of_each_method_that_has_any(make_run, write_row):
    scores = {f"case_0000{n}": {("tumor", "dice"): n / 10} for n in (1, 2, 3)}
    seeds = [write_row(f"{n}", "ERNet", scores, table="ernet/table1", overrides=[f"seed={n}"]) for n in (0, 1)]
    paths = [make_run("plain", name="plain"), *(keep_heatmaps(path, *scores) for path in seeds)]
    paths.append(keep_heatmaps(make_run("own", name="own"), "case_00001"))

    panels = heatmap_panels(read_runs(paths)[0])

    assert [base64.b64decode(panel.png) for panel in panels] == [b"case_00001", b"case_00002", b"case_00001"]
    assert panels[0].caption.startswith("ERNet (0), worst case: case_00001, the slices")
    assert panels[1].caption.startswith("ERNet (0), median case: case_00002, the slices")
    assert panels[2].caption.startswith("own, worst case of the 1 cases with a picture: case_00001")
    assert all(panel.caption.endswith("Others lie in heatmaps/ of the run.") for panel in panels)


def test_heat_maps_of_many_methods_are_those_of_the_first(make_run):
    runs, _ = read_runs([keep_heatmaps(make_run(name, name=name), "case_00001") for name in "abcdef"])

    assert [panel.caption[0] for panel in heatmap_panels(runs)] == ["a", "b", "c", "d"]


def test_a_run_without_scores_shows_no_heat_maps(make_run):
    assert heatmap_panels([read_run(make_run("c", dice={}))]) == []
