import pytest

from kidney_lab.composition.search_path import config_folder
from kidney_lab.reporting.published_claims import CLAIM_MARK, false_claims
from kidney_lab.reporting.published_scores import PublishedScore, read_published

EXPERIMENTS = config_folder().parent / "experiments"


@pytest.fixture
def score():
    def make(row, value, metric="jaccard", *, level="case", best=False):
        return PublishedScore("t", row, "kits19", "tumor", metric, level, value, claimed_best=best)

    return make


def test_a_number_that_is_called_the_best_is_held_against_the_other_rows(score):
    others = [score("B", 0.86), score("C", 0.9), score("D", 0.2), score("E", 0.99, level="pooled"), score("F", None)]
    (claim,) = false_claims([score("A", 0.85, best=True), *others])

    assert claim.score == ("A", ("tumor", "jaccard", "case"))
    assert claim.sentence == (
        f"{CLAIM_MARK} The paper's text calls this the best of its table, which it is not: A, Jaccard index (IoU) "
        "0.8500, beside C 0.9000, B 0.8600."
    )


def test_the_best_is_the_lowest_of_a_loss_and_a_draw_is_no_contradiction(score):
    assert false_claims([score("A", 0.15, "train_loss", best=True), score("B", 0.16, "train_loss")]) == []
    assert false_claims([score("A", 0.16, "train_loss", best=True), score("B", 0.15, "train_loss")])
    assert false_claims([score("A", 0.9, best=True), score("B", 0.9)]) == []
    assert false_claims([score("A", None, best=True), score("B", 0.9)]) == []


@pytest.mark.parametrize(
    ("paper", "expected"),
    [
        # Section 4: "leads with 95% validation accuracy"; the IoU "is also the highest value"
        ("transfer_ensemble", {("Proposed System", "val_accuracy"), ("Proposed System", "jaccard")}),
        ("ernet", set()),
    ],
)
def test_the_claims_of_a_paper_that_its_tables_contradict_are_these(paper, expected):
    scores = read_published(EXPERIMENTS / paper / "published.json")
    tables = {name: [score for score in scores if score.table == name] for name in {score.table for score in scores}}

    found = {(claim.claimed.row, claim.claimed.metric) for table in tables.values() for claim in false_claims(table)}
    assert found == expected
