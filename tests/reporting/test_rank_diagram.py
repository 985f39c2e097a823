from xml.etree import ElementTree as ET

import pytest

from kidney_lab.reporting.rank_diagram import caption, rank_diagram
from kidney_lab.reporting.rank_tests import RankTests

PAIRS = {("A", "B"): 0.2, ("A", "C"): 0.01, ("B", "C"): 0.3}
FOUND = RankTests({"A": 1.25, "B": 2.0, "C": 2.75}, 6.5, 0.04, PAIRS, [("A", "B"), ("B", "C")], 8, 1)


def test_methods_hang_at_their_ranks_with_the_best_at_the_right():
    picture = ET.fromstring(rank_diagram(FOUND, "Dice of the tumor"))
    at = {text.text: float(text.get("x")) for text in picture.iter("text") if text.text in "123"}
    assert at["1"] > at["2"] > at["3"]

    step = at["1"] - at["2"]
    ranks = {group.get("data-run"): group.find("polyline").get("points").split(",")[0] for group in picture.iter("g")}
    for name, rank in FOUND.ranks.items():
        assert float(ranks[name]) == pytest.approx(at["1"] - (rank - 1) * step, abs=0.02)
    texts = [text.text for text in picture.iter("text")]
    assert {"A (1.25)", "B (2.00)", "C (2.75)", "Average rank by Dice of the tumor (1 is best)"} <= set(texts)


def test_a_long_name_is_cut_and_its_rank_is_not():
    names = ["a row of the table whose name is far too long for one line", "B", "C"]
    ranks = RankTests(dict(zip(names, (1.25, 2.0, 2.75), strict=True)), 6.5, 0.04, PAIRS, [], 8, 0)
    texts = [text.text for text in ET.fromstring(rank_diagram(ranks, "Dice")).iter("text")]

    assert "a row of the" in texts
    assert "table whose name… (1.25)" in texts


def test_a_bar_reaches_over_its_clique_on_a_level_of_its_own():
    picture = ET.fromstring(rank_diagram(FOUND, "Dice"))
    at = {text.text: float(text.get("x")) for text in picture.iter("text") if text.text in "123"}
    first, second = [line for line in picture.iter("line") if line.get("class") == "clique hint"]

    step = at["1"] - at["2"]
    assert float(first.get("x1")) == pytest.approx(at["2"] - 4, abs=0.02)  # from B
    assert float(first.get("x2")) == pytest.approx(at["1"] - 0.25 * step + 4, abs=0.02)  # to A
    assert first.get("y1") == first.get("y2") != second.get("y1")
    assert second.findtext("title") == "No pair differs from B to C"


def test_the_caption_says_what_was_tested():
    assert caption(FOUND) == (
        "Friedman's test over 8 cases: χ² = 6.50, p = 0.040. Left out for an undefined value: 1 case. A bar "
        "joins neighbours of which no pair differs by Wilcoxon's signed-rank test, p corrected by Holm over all 3 "
        "pairs, at the level 0.05."
    )
    silent = RankTests({"A": 1.9, "B": 2.0, "C": 2.1}, 0.1, 0.9, {}, [("A", "C")], 8, 0)
    assert "finds no difference, so that no pair is tested" in caption(silent)
