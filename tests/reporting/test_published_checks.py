import pytest

from kidney_lab.composition.search_path import config_folder
from kidney_lab.reporting.published_checks import MARK, check_notes, check_published, marked_scores
from kidney_lab.reporting.published_scores import PublishedScore, read_published

FILES = sorted((config_folder().parent / "experiments").glob("*/published.json"))
"""Of every paper."""

KIDNEY = "kidney_and_mass"
LEVELS = ("case", "pooled")
"""Both, where a paper does not say which."""

ERNET_KITS19 = ["At-UNet", "DPC", "Ens-UNet", "PCM", "RBCA", "RWL", "Stack Net", "TSS", "ERNet"]
# What no method can have, worked out from the papers apart from this code: table, dataset, region, rows.
IMPOSSIBLE = {
    "ernet": [
        ("table1", "kits19", KIDNEY, ERNET_KITS19),
        ("table1", "kits21", KIDNEY, ["AE-CNN", "At-UNet", "PCM", "RBCA"]),
        ("table1", "kits21", "tumor", ["DPC", "PCM"]),  # sensitivities 0.917 > 1 - 0.207 and 0.837 > 1 - 0.230
    ],
    "attention_vnet": [("sec4_2_2", "kits19", KIDNEY, ["Improved V-Net"])],  # Jaccard 0.856 < 0.924 / 1.076
    # If pooled: F1 0.89, 0.85, 0.87 and 0.91 make Jaccard 0.802, 0.739, 0.770 and 0.835; printed 0.85, 0.80, 0.82, 0.86
    "transfer_ensemble": [("table2", "kits19", KIDNEY, ["Proposed System", "SegNet", "U-Net", "DeepLabv3"])],
}


def by_table(scores):
    tables = {}
    for score in scores:
        tables.setdefault((score.table, score.dataset), []).append(score)
    return tables


@pytest.fixture
def score():
    def make(metric, value, *, row="PM", region="tumor", level="case"):
        return PublishedScore("t1", row, "kits19", region, metric, level, value)

    return make


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_the_rows_that_no_method_can_have_are_those_that_are_known(file):
    found = {
        (*table, one.region, one.row)
        for table, scores in by_table(read_published(file)).items()
        for one in check_published(scores)
        if not one.finding.only_if_pooled
    }

    assert found == {
        (table, dataset, region, row)
        for table, dataset, region, rows in IMPOSSIBLE.get(file.parent.name, [])
        for row in rows
    }


def test_thirteen_of_ernets_twenty_kidneys_and_two_tumors_break_a_bound_on_means():
    (file,) = [file for file in FILES if file.parent.name == "ernet"]
    found = [one for scores in by_table(read_published(file)).values() for one in check_published(scores)]

    impossible = [(one.region, one.finding.law.metric) for one in found if not one.finding.only_if_pooled]
    assert impossible.count((KIDNEY, "dice")) == 13
    assert impossible.count(("tumor", "sensitivity")) == 2
    assert len(impossible) == 15
    # Pooled, ERNet's own sensitivity 0.896 and relative volume difference 0.126 make Dice 1.792 / 2.126.
    (pooled, _) = [
        one.finding for one in found if (one.row, one.region) == ("ERNet", KIDNEY) and one.finding.only_if_pooled
    ]
    assert (pooled.value, pooled.limit) == (0.964, pytest.approx(0.8429, abs=1e-4))


def test_regions_and_levels_and_rows_are_not_mixed(score):
    apart = [score("sensitivity", 0.5, region=KIDNEY), score("sensitivity", 0.5, level="slice")]
    apart += [score("sensitivity", 0.5, row="nnU-Net"), score("dice", 0.9)]
    (one,) = check_published([*apart, score("sensitivity", 0.6)])

    assert (one.row, one.region, one.level, one.finding.law.words) == (
        "PM",
        "tumor",
        "case",
        "2 s / (1 + s), s sensitivity",
    )
    assert marked_scores([one]) == {("PM", ("tumor", "dice", "case")), ("PM", ("tumor", "sensitivity", "case"))}


def test_a_number_is_rounded_like_the_longest_of_its_metric(score):
    # Printed 0.68 and 0.5: 0.675 is above 2 * 0.5 / 1.5 = 0.667, but not above 2 * 0.55 / 1.55 = 0.71.
    scores = [score("dice", 0.68), score("sensitivity", 0.5)]

    assert check_published(scores) == []
    assert len(check_published([*scores, score("sensitivity", 0.123, row="nnU-Net")])) == 1


def test_what_no_method_can_have_is_said_before_what_cannot_be_pooled(score):
    scores = [score("dice", 0.5), score("jaccard", 0.5)]  # half of the cases found, half missed
    scores += [score("dice", 0.5, row="A"), score("jaccard", 0.25, row="A"), score("dice", 0.4, row="B", region=None)]
    scores += [score("jaccard", 0.39, row="B", region=None)]
    found = check_published([*scores, score("dice", 0.123, row="C")])

    assert check_notes(found) == [
        f"{MARK} No method can have these numbers: Jaccard index (IoU) is at least d / (2 - d), d Dice, for pooled "
        "counts and for means over the same cases. Broken by A, tumor (0.2500, at least 0.3333).",
        "The paper's own numbers are possible as means over cases alone: for pooled counts Jaccard index (IoU) is "
        "exactly d / (2 - d), d Dice. Broken in 2 places, most by PM, tumor (0.5000, pooled 0.3333).",
    ]
    assert {row for row, _ in marked_scores(found)} == {"A"}


def test_what_only_pooled_counts_cannot_give_is_said_of_pooled_counts_alone(score):
    scores = [score(name, value, level=level) for name, value in (("dice", 0.5), ("jaccard", 0.5)) for level in LEVELS]

    assert check_notes(check_published(scores))[0] == (
        f"{MARK} As pooled counts no method can have these numbers: Jaccard index (IoU) is exactly d / (2 - d), d "
        "Dice. Broken by PM, tumor (0.5000, exactly 0.3333)."
    )


def test_scores_that_are_pooled_must_keep_the_equalities(score):
    scores = [score(name, value, level="pooled") for name, value in (("dice", 0.5), ("jaccard", 0.5))]
    found = check_published(scores)

    assert marked_scores(found) == {("PM", ("tumor", name, "pooled")) for name in ("dice", "jaccard")}
    (note,) = check_notes(found)
    assert note.endswith("d Dice. Broken by PM, tumor (0.5000, exactly 0.3333).")


def test_what_is_consistent_needs_no_sentence(score):
    found = check_published([score("dice", 0.80), score("sensitivity", 0.75), score("assd", 3.0)])

    assert (found, check_notes(found), marked_scores(found)) == ([], [], set())
