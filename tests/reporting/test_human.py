import json

import pytest

from kidney_lab.errors import InputError
from kidney_lab.metrics import metrics_frame, write_metrics
from kidney_lab.reporting.human import HumanAgreement
from kidney_lab.reporting.runs import read_run


def test_what_annotators_agree_on_is_read_and_said_to_be_of_contours(agreement, make_run):
    human = HumanAgreement.read(agreement)

    assert set(human.of_regions(["tumor", "kidney_and_mass"])["region"]) == {"tumor"}
    sentence = human.words([read_run(make_run())])
    assert "on 2 cases, 1 of them among those scored here" in sentence
    assert "contours" in sentence
    assert "not detection" in sentence


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("kits19", "on 2 cases, 1 of them among those scored here. They"),
        ("kits21", "on 2 cases, 1 of them among those scored here. They"),
        ("phantom", "on 2 cases, 0 of them among those scored here; those of phantom are no patients of kits23. They"),
        (None, "on 2 cases, 1 of them among those scored here. They"),
    ],
)
def test_cases_are_the_same_only_in_editions_of_one_dataset(agreement, make_run, data, expected):
    (agreement / "agreement.json").write_text('{"surface": "surfel", "data": "kits23"}')
    run = read_run(make_run(data={} if data is None else {"name": data}))

    assert expected in HumanAgreement.read(agreement).words([run])


def test_a_folder_without_agreement_is_refused(agreement, make_run):
    with pytest.raises(InputError, match=r"human=.*run holds no agreement of annotators \(no agreement.json\): name a"):
        HumanAgreement.read(make_run())
    (agreement / "metrics.csv").unlink()
    with pytest.raises(InputError, match=r"no metrics\.csv"):
        HumanAgreement.read(agreement)


def test_an_agreement_is_no_run(agreement):
    with pytest.raises(InputError, match="holds how far annotators agree, no run: name it by human="):
        read_run(agreement)


def test_an_agreement_with_another_surface_is_said_to_be_no_ceiling(agreement, make_run):
    run = read_run(make_run())  # surfel
    (agreement / "agreement.json").write_text(json.dumps({"surface": "voxel"}))
    assert "surface=" not in HumanAgreement.read(agreement).words([run])  # Dice alone

    write_metrics(metrics_frame({"case_00001": {("tumor", "surface_dice"): 0.96}}), agreement)
    sentence = HumanAgreement.read(agreement).words([run])
    assert "made with surface=voxel, those of unet3d-kits19 with another, so they cannot be compared" in sentence
    (agreement / "agreement.json").write_text(json.dumps({"surface": "surfel"}))
    assert "surface=" not in HumanAgreement.read(agreement).words([run])


def test_the_scores_of_a_table_are_means_over_the_annotators_cases(agreement):
    keys = [("tumor", "dice", "case"), ("tumor", "jaccard", "case"), ("kidney", "dice", "case"), (None, "gflops", None)]
    scores = HumanAgreement.read(agreement).scores([*keys, ("tumor", "dice", "pooled")])

    assert list(scores) == keys[:2]
    assert (scores[keys[0]].mean, scores[keys[0]].n) == (pytest.approx(0.96), 2)
    assert scores[keys[1]].mean == pytest.approx(0.96 / (2 - 0.96))
