import pytest

from kidney_lab.composition.search_path import config_folder
from kidney_lab.reporting.published_scores import read_published

FILE = config_folder().parent / "experiments" / "attention_vnet" / "published.json"

# Section 4.2.2: Dice, Jaccard, ASD and HD in mm.
SECTION_4_2_2 = {"kidney_and_mass": (0.924, 0.856, 0.712, 8.245), "tumor": (0.831, 0.718, 1.862, 15.372)}
# Sections 3.3 and 3.4: Dice and IoU before and after a module.
MODULES = {
    "without channel (3.3 before)": (0.812, 0.724),
    "Improved V-Net": (0.847, 0.758),
    "without spatial (3.4 before)": (0.821, 0.735),
    "Improved V-Net (3.4 after)": (0.847, 0.768),
}


def of_table(name):
    return [score for score in read_published(FILE) if score.table == name]


def test_the_numbers_of_section_4_2_2_are_those_of_its_text():
    found = {(s.region, s.metric): s.value for s in of_table("sec4_2_2") if s.row == "Improved V-Net"}

    metrics = ("dice", "jaccard", "assd", "hd")
    assert found == {
        (region, metric): value
        for region, values in SECTION_4_2_2.items()
        for metric, value in zip(metrics, values, strict=True)
    }


def test_the_two_ablations_end_at_one_dice_and_two_ious():
    found = {(s.row, s.metric): s.value for s in of_table("sec3_ablation")}

    assert found == {
        (row, metric): value
        for row, values in MODULES.items()
        for metric, value in zip(("dice", "jaccard"), values, strict=True)
    }


def test_the_gains_of_the_conclusion_are_others_than_those_of_section_4_2_2():
    gains = {
        name: [s.value for s in of_table(name) if s.row == "V-Net" and s.metric == "dice_gain_of_improved_v_net"]
        for name in ("sec4_2_2", "sec5_conclusion")
    }

    assert gains == {"sec4_2_2": [0.042, 0.067], "sec5_conclusion": [0.027, 0.082]}


def test_what_the_parts_cost_is_what_sections_2_2_2_to_4_2_2_say():
    found = {(s.row.partition(" (")[0], s.metric): s.value for s in of_table("cost")}

    gain = "parameters_in_millions_gain_of_improved_v_net"
    assert found == {
        ("Improved V-Net", "parameters_in_millions"): 31.2,
        ("V-Net", gain): 4.7,
        ("without fusion", gain): 2.1,
        ("without fusion", "seconds_per_case_gain_of_improved_v_net"): 0.008,
        ("without channel attention", gain): pytest.approx(0.02 * (31.2 - 4.7)),
        ("Improved V-Net, 14.8 M", "parameters_in_millions"): 14.8,
        ("Improved V-Net, 14.8 M", "seconds_per_case"): 1.23,
        ("Improved V-Net", "seconds_per_case"): 8.0,
    }


def test_no_number_stands_twice_in_a_row():
    scores = read_published(FILE)

    assert len({(s.table, s.row, s.dataset, s.key) for s in scores}) == len(scores)
    assert {s.dataset for s in scores} == {"kits19"}
