import json
import math

import pytest
from scipy.stats import wilcoxon

from kidney_lab.metrics import metrics_frame, write_metrics
from kidney_lab.reporting.contents import Choices, collect
from kidney_lab.reporting.derived_scores import network_costs
from kidney_lab.reporting.members import ENSEMBLE, member_scores, members_section
from kidney_lab.reporting.runs import read_run
from kidney_lab.reporting.stages import stages_section

MEMBERS = {"resnet50": [0.5, 0.6, 0.7, 0.8], "vgg16": [0.4, 0.7, 0.6, 0.5]}
RESULT = [0.6, 0.7, 0.75, 0.9]


def frame(dice, region="tumor"):
    return metrics_frame({f"c{k}": {(region, "dice"): value} for k, value in enumerate(dice)})


@pytest.fixture
def ensemble(make_run):
    """A run of two stages and one other run that segments kidneys alone, combined by a mean."""
    run = make_run(
        dice={},
        stages={name: {"parameters": 20_000_000, "flops": 4e9} for name in MEMBERS},
        members={"1": {"name": "cascade_unet-kits19", "parameters": 5_000_000, "flops": 2e9}},
        member_weights={"resnet50": 0.75, "vgg16": 0.5, "1": 0.875},
        cost_per_case={"n": 4, "seconds": 2.0, "windows": 1, "flops": 1e9, "peak_mib": 1},
    )
    (run / "config.yaml").write_text(
        "model: {combination: {_target_: kidney_lab.inference.ensemble.Ensemble, combine: mean}}\n"
    )
    for name, dice in MEMBERS.items():
        write_metrics(frame(dice), run / "stages" / name)
    write_metrics(frame([0.9] * 4, "kidney_and_mass"), run / "members" / "1")
    write_metrics(frame([0.1] * 4), run / "unprocessed")
    write_metrics(frame(RESULT), run)
    return run


def test_the_ensemble_is_compared_with_each_member_and_not_with_the_one_above(ensemble):
    scores = member_scores([read_run(ensemble)])

    assert [score.member for score in scores] == ["resnet50", "vgg16", ENSEMBLE]
    resnet, vgg, result = scores
    assert resnet.gain.difference.mean == pytest.approx((0.1 + 0.1 + 0.05 + 0.1) / 4)
    assert vgg.gain.difference.mean == pytest.approx((0.2 + 0.0 + 0.15 + 0.4) / 4)
    assert vgg.gain.wilcoxon_p == pytest.approx(wilcoxon([0.2, 0.15, 0.4]).pvalue)
    assert result.gain is None
    assert result.score.interval.mean == pytest.approx(sum(RESULT) / 4)


def test_members_stand_in_the_report_in_the_place_of_stages(ensemble):
    run = read_run(ensemble)
    section = members_section([run])

    assert stages_section([run]) is None
    assert [row.kind for row in section.rows] == ["group", "", ""]
    assert [row.cells[1] for row in section.rows] == ["resnet50", "vgg16", ENSEMBLE]
    assert [row.cells[2] for row in section.rows] == ["0.750", "0.500", "—"]
    assert section.rows[0].cells[6] == "+0.087"
    assert section.rows[0].cells[8] == "0.125 (0.250)"  # 2 / 2^4, the smaller of two
    assert section.rows[2].cells[6:] == ["—"] * 3
    assert "Holm over all 2 comparisons" in section.caption
    assert "members" in [part.id for part in collect([ensemble], Choices()).sections]


def test_a_member_run_has_its_name_and_its_share_of_the_cost(ensemble):
    run = read_run(ensemble)

    assert list(run.earlier) == ["resnet50", "vgg16", "1: cascade_unet-kits19", "unprocessed"]
    assert network_costs(run)["parameters_in_millions"] == 45
    assert network_costs(run)["gflops"] == 5


def test_a_member_run_has_the_weight_of_its_number(ensemble):
    write_metrics(frame([0.95] * 4, "kidney_and_mass"), ensemble)

    (member, result) = member_scores([read_run(ensemble)])
    assert (member.member, member.weight) == ("1: cascade_unet-kits19", 0.875)
    assert math.isnan(result.weight)


def test_other_runs_have_no_members(ensemble, make_run):
    plain = read_run(make_run("plain"))

    assert not plain.is_ensemble
    assert members_section([plain]) is None
    (ensemble / "run.json").write_text(json.dumps({"name": "x", "stages": {}}))
    assert members_section([read_run(ensemble)]) is None  # whose members were not scored
