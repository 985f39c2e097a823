from kidney_lab.reporting.formatting import MISSING
from kidney_lab.reporting.overview import badges, cost_rows, facts
from kidney_lab.reporting.runs import read_run


def test_what_another_tool_s_predictions_took_is_not_known(make_run):
    scored = read_run(make_run(predictions="pred"))

    assert cost_rows(scored, 0) == []
    assert dict(facts(scored))["Wall time"] == MISSING


def test_phantoms_and_painted_images_have_badges_of_their_own(make_run):
    made = [make_run(name, data={"name": name, "synthesized": True}) for name in ("phantom", "kits19", "kits21")]
    runs = [read_run(path) for path in [*made, make_run("real")]]

    assert [badge.text for badge in badges(runs) if badge.kind == "loud"] == ["Phantom data", "Synthesized images"]
