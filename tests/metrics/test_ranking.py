import itertools

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from kidney_lab.errors import InputError
from kidney_lab.labels import OFFICIAL_REGIONS
from kidney_lab.metrics import metrics_frame
from kidney_lab.metrics.ranking import rank_teams


def table(dice, surface_dice, cases=("case_00000",)):
    """Every case gets the same three Dice and three surface Dice, in the order of the official regions."""
    values = {(region, "dice"): d for region, d in zip(OFFICIAL_REGIONS, dice, strict=True)}
    values |= {(region, "surface_dice"): s for region, s in zip(OFFICIAL_REGIONS, surface_dice, strict=True)}
    return metrics_frame(dict.fromkeys(cases, values))


def challenge_code(means):
    """`rank_participants` of the challenges, literally: six columns, Dice then surface Dice; ties by column 2."""
    averages = np.stack([means[:, :3].mean(axis=1), means[:, 3:].mean(axis=1)], axis=1)
    ranked = np.apply_along_axis(scipy.stats.rankdata, 0, -averages, "min").mean(axis=-1)
    ranks = scipy.stats.rankdata(ranked, "min")
    for rank in range(1, len(means) + 1):
        tied = ranks == rank
        if tied.sum() > 1:
            ranks[tied] = scipy.stats.rankdata(-means[tied, 2], "min") - 1 + rank
    return ranks


def test_ranks_are_averaged_over_the_two_metrics():
    ranking = rank_teams(
        {
            "third": table((0.7, 0.7, 0.7), (0.7, 0.7, 0.7)),
            "first": table((0.9, 0.9, 0.9), (0.9, 0.9, 0.9)),
            "second": table((0.8, 0.8, 0.8), (0.8, 0.8, 0.8)),
        }
    )
    assert ranking.index.tolist() == ["first", "second", "third"]
    assert ranking["rank"].tolist() == [1, 2, 3]
    assert ranking.loc["second"].tolist() == pytest.approx([2, 2, 0.8, 0.8, 0.8])


def test_ties_go_to_the_better_tumor_dice_and_then_stay():
    overlap, border = table((0.9, 0.9, 0.6), (0.7, 0.7, 0.7)), table((0.8, 0.8, 0.7), (0.8, 0.8, 0.8))
    ranking = rank_teams({"overlap": overlap, "border": border})
    assert ranking["mean_rank"].tolist() == [1.5, 1.5]  # each is the best in one of the two
    assert ranking["rank"].to_dict() == {"border": 1, "overlap": 2}
    ranking = rank_teams({"a": border, "b": border, "worst": table((0.1,) * 3, (0.1,) * 3)})
    assert ranking["rank"].to_dict() == {"a": 1, "b": 1, "worst": 3}


def test_many_teams_with_ties_rank_as_by_the_code_of_the_challenges():
    rng = np.random.default_rng(3)
    for teams in (1, 2, 5, 12):
        means = rng.choice([0.5, 0.6, 0.7], (teams, 6))
        scores = {f"team {n}": table(row[:3], row[3:], cases=("a", "b", "c")) for n, row in enumerate(means)}
        ranking = rank_teams(scores)
        assert ranking.loc[list(scores), "rank"].tolist() == challenge_code(means).tolist()


def test_means_are_over_cases_and_regions():
    frame = pd.concat([table((1.0, 0.5, 0.0), (1.0, 1.0, 1.0), cases=("a",)), table((0.6,) * 3, (0.0,) * 3, ("b",))])
    ranking = rank_teams({"team": frame})
    assert ranking.loc["team"].tolist() == pytest.approx([1, 1, (0.5 + 0.6) / 2, 0.5, 0.3])


def test_order_of_rows_and_other_metrics_change_nothing():
    frame = table((0.9, 0.8, 0.7), (0.6, 0.5, 0.4), cases=("a", "b"))
    more = pd.DataFrame([("a", "tumor", "hd95", np.nan), ("a", "cyst", "dice", 0.1)], columns=frame.columns)
    shuffled = pd.concat([frame, more]).sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(rank_teams({"team": frame}), rank_teams({"team": shuffled}))


def test_equal_scores_in_another_order_of_cases_are_a_tie():
    values = [0.1, 0.2, 0.3, 0.7]  # their sums differ in the last bit by the order
    orders = {
        str(order): pd.concat([table((d,) * 3, (d,) * 3, (case,)) for case, d in zip("abcd", order, strict=True)])
        for order in itertools.permutations(values)
    }
    assert set(rank_teams(orders)["rank"]) == {1}


def test_incomplete_tables_are_refused():
    whole = table((0.9,) * 3, (0.9,) * 3, cases=("a", "b"))
    without_tumor = whole[(whole["case"] != "b") | (whole["region"] != "tumor")]
    with pytest.raises(InputError, match="team lacks an official score for b"):
        rank_teams({"team": without_tumor})
    with pytest.raises(InputError, match="team lacks an official score for any case"):
        rank_teams({"team": whole[whole["region"] == "cyst"]})
    with pytest.raises(InputError, match="team lacks an official score for b"):
        rank_teams({"team": whole.assign(value=whole["value"].mask(whole["case"] == "b"))})
    with pytest.raises(InputError, match="team has two values for a, kidney_and_mass, dice"):
        rank_teams({"team": pd.concat([whole, whole])})
    with pytest.raises(InputError, match=r"one and two were not scored on the same cases \(b is in one"):
        rank_teams({"one": whole, "two": whole[whole["case"] == "a"]})
    with pytest.raises(InputError, match="no team to rank"):
        rank_teams({})
