import numpy as np
import pytest

from kidney_lab.metrics import overlap
from kidney_lab.metrics.overlap import confusion
from kidney_lab.metrics.scoring import METRIC_TABLE
from kidney_lab.metrics.volume import relative_difference
from kidney_lab.reporting.consistency import LAWS, POOLED, Printed, contradictions

SCORES = {
    "dice": overlap.dice,
    "f1": overlap.f1,
    "jaccard": overlap.jaccard,
    "sensitivity": overlap.sensitivity,
    "precision": overlap.precision,
    "specificity": overlap.specificity,
    "rvd": relative_difference,
}

# Scores that break one law each, the limit computed by hand: what is judged, how, the limit, scores.
BROKEN = [
    *((name, "at most", 1, {name: 1.1}) for name in SCORES if name != "rvd"),
    ("rvd", "at least", -1, {"rvd": -1.2}),
    ("jaccard", "at most", 0.5, {"jaccard": 0.6, "sensitivity": 0.5}),
    ("jaccard", "at most", 0.5, {"jaccard": 0.6, "precision": 0.5}),
    ("sensitivity", "at most", 0.8, {"sensitivity": 0.9, "rvd": -0.2}),
]
for dice in ("dice", "f1"):
    BROKEN += [
        (dice, "at most", 2 / 3, {dice: 0.7, "sensitivity": 0.5}),
        (dice, "at most", 2 / 3, {dice: 0.7, "precision": 0.5}),
        (dice, "at most", 0.48, {dice: 0.5, "sensitivity": 0.4, "precision": 0.6}),  # 2 * 0.24 / 1
        (dice, "exactly", 0.48, {dice: 0.4, "sensitivity": 0.4, "precision": 0.6}),
        (dice, "at most", 0.4, {dice: 0.5, "rvd": -0.75}),  # a quarter of the volume, all of it right: 2 / (1 + 4)
        (dice, "exactly", 0.5, {dice: 0.6, "sensitivity": 0.75, "rvd": 1.0}),  # 2 * 0.75 / 3
        ("jaccard", "at least", 0.5, {"jaccard": 0.4, dice: 2 / 3}),
        ("jaccard", "exactly", 0.5, {"jaccard": 0.6, dice: 2 / 3}),
        ("jaccard", "at most", 0.7, {"jaccard": 0.8, dice: 0.7}),
    ]


def printed(scores, digits=None):
    return {name: Printed(value, digits) for name, value in scores.items()}


@pytest.mark.parametrize(("metric", "sense", "limit", "scores"), BROKEN)
def test_what_breaks_a_law_is_found_with_its_limit_and_its_excess(metric, sense, limit, scores):
    found = [
        one
        for one in contradictions(printed(scores))
        if (one.law.metric, one.law.sense) == (metric, sense) and {metric, *one.law.given} == set(scores)
    ]

    assert [(one.value, one.limit) for one in found] == [(scores[metric], pytest.approx(limit))]
    assert found[0].excess == pytest.approx(scores[metric] - limit)
    assert found[0].only_if_pooled == (sense == "exactly")


def test_every_law_is_broken_by_an_example_and_judges_a_metric_of_ours():
    examples = {(metric, sense, frozenset(scores)) for metric, sense, _, scores in BROKEN}

    assert {(law.metric, law.sense, frozenset({law.metric, *law.given})) for law in LAWS} == examples
    assert {name for law in LAWS for name in (law.metric, *law.given)} <= METRIC_TABLE.keys()


@pytest.mark.parametrize(("dice", "broken"), [(0.945, False), (0.946, True)])
def test_rounding_is_given_the_benefit_of_the_doubt(dice, broken):
    # Sensitivity up to 0.8965 allows 1.793 / 1.8965 = 0.94542, which 0.945 (from 0.9445) obeys and 0.946 (0.9455) not.
    scores = {"dice": dice, "sensitivity": 0.896}

    assert bool(contradictions(printed(scores, digits=3))) == broken
    # Where nothing is rounded, 1.792 / 1.896 = 0.94515 is the limit.
    assert contradictions(printed({**scores, "dice": 0.9452}))


def test_rounding_does_not_lead_out_of_the_range():
    # 1.000 and -1.000 may be 1.0005 and -1.0005 by their digits alone.
    assert contradictions(printed({"dice": 1.0, "jaccard": 1.0, "sensitivity": 1.0, "rvd": 0.0}, digits=3)) == []
    assert contradictions(printed({"dice": 0.0, "sensitivity": 0.0, "rvd": -1.0}, digits=3)) == []


def test_an_equality_broken_alone_is_possible_for_means_and_impossible_for_pooled_counts():
    # Cases with Dice 1 and 0 have Jaccard 1 and 0: the means are 0.5 both, while 0.5 / 1.5 is the pooled Jaccard.
    scores = printed({"dice": 0.5, "jaccard": 0.5})

    assert [(one.law.sense, one.only_if_pooled) for one in contradictions(scores)] == [("exactly", True)]
    assert [one.only_if_pooled for one in contradictions(scores, level="case")] == [True]
    assert [one.only_if_pooled for one in contradictions(scores, level=POOLED)] == [False]


def test_with_precision_beside_sensitivity_only_the_stronger_bound_is_asked():
    found = contradictions(printed({"dice": 0.9, "sensitivity": 0.5, "precision": 0.5}))

    assert [(one.law.sense, one.limit) for one in found] == [("at most", 0.5), ("exactly", 0.5)]


def test_scores_without_a_law_are_ignored():
    assert contradictions(printed({"dice": 0.9, "assd": 1.2, "mean_dice": 7.0, "specificity": 0.99})) == []


def random_counts(rng):
    """Counts of cases whose references hold the region; some predictions are empty, or miss it, or are all of it."""
    counts = []
    for _ in range(rng.integers(1, 6)):
        reference = rng.random((2, 4, 5)) < rng.uniform(0.02, 0.9)
        reference[0, 0, 0] = True
        flipped = rng.random(reference.shape) < rng.choice([0, 0.02, 0.3, 0.6, 1])
        prediction = rng.choice([0, 1, 1, 1, 1]) * (reference ^ flipped)
        counts.append(confusion(prediction, reference))
    return counts


@pytest.mark.parametrize("digits", [None, 1, 3])
def test_means_of_our_own_metrics_break_no_bound(digits):
    rng = np.random.default_rng(0)
    for _ in range(300):
        counts = random_counts(rng)
        values = {name: np.array([score(one) for one in counts]) for name, score in SCORES.items()}
        means = {name: np.nanmean(of) for name, of in values.items() if not np.isnan(of).all()}
        rounded = {name: mean if digits is None else round(mean, digits) for name, mean in means.items()}
        for left_out in SCORES:  # then laws are asked in whose place there is a stronger one else
            some = printed({name: value for name, value in rounded.items() if name != left_out}, digits)
            assert [one for one in contradictions(some, level="case") if not one.only_if_pooled] == []


@pytest.mark.parametrize("digits", [None, 2])
def test_pooled_counts_of_our_own_metrics_break_no_law(digits):
    rng = np.random.default_rng(1)
    for _ in range(300):
        first, *others = random_counts(rng)
        values = {name: score(sum(others, first)) for name, score in SCORES.items()}
        known = {name: value if digits is None else round(value, digits) for name, value in values.items()}
        some = printed({name: value for name, value in known.items() if not np.isnan(value)}, digits)
        assert contradictions(some, level=POOLED) == []
