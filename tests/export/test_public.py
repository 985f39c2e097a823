import json

import pytest

from kidney_lab.export.public import last_part, public_config, public_record

HOME = "/" + "home/jo"
CONFIG = {
    "seed": 0,
    "hydra": {"run": {"dir": f"{HOME}/runs"}},
    "logger": {"entity": "my-lab", "project": "kidneys"},
    "prepare": {"root": "data/stores", "workers": 3},
    "init": f"{HOME}/runs/1",
    "resume": None,
    "data": {"root": "../Mrs Doe/kits23", "name": "kits23", "test_root": None, "split": f"{HOME}/splits_final.json"},
    "model": {
        "weights": r"C:\Users\jo\mask_rcnn.pth",
        "stages": {"only": {"_target_": "kidney_lab.methods.stage.Stage", "spacing": [3.0, 0.8, 0.8]}},
        "lists": [f"{HOME}/a.pth", {"deep": "~/b.pth"}],
    },
    "url": "https://kits-challenge.org/kits23",
}
RECORD = {
    "name": "unet3d-kits23",
    "overrides": [f"data.root={HOME}/kits23"],
    "paths": {"data.root": f"{HOME}/kits23"},
    "seed": 0,
    "stages": {"only": {"parameters": 5107, "input_shape": [1, 1, 16, 16, 16], "taken": f"{HOME}/runs/1"}},
    "data": {"name": "kits23", "root": f"{HOME}/kits23", "n_train": 3, "excluded": ["Doe_Jo"], "exclude": ["mine"]},
    "folds": {"only/folds/0": {"held_out": ["Doe_Jo"]}},
}


@pytest.mark.parametrize("public", [public_config(CONFIG), public_record(RECORD)])
def test_nothing_of_the_machine_or_the_patients_is_left(public):
    text = json.dumps(public)
    for private in (HOME, "Users", "Doe", "my-lab", "~", "stores"):
        assert private not in text


def test_what_was_learned_is_left_as_it_was():
    public = public_config(CONFIG)
    assert public["model"]["stages"] == CONFIG["model"]["stages"]
    assert (public["seed"], public["url"]) == (0, "https://kits-challenge.org/kits23")
    assert public["model"]["weights"] == "mask_rcnn.pth"
    assert public["model"]["lists"] == ["a.pth", {"deep": "b.pth"}]
    assert public["data"] == {"root": "kits23", "name": "kits23", "test_root": None, "split": "splits_final.json"}


def test_the_record_keeps_how_many_cases_were_excluded_but_not_which():
    assert public_record(RECORD)["data"] == {"name": "kits23", "n_train": 3, "exclude": ["mine"], "n_excluded": 1}
    assert public_record({})["data"] == {"n_excluded": 0}


def test_relative_paths_lose_their_folders_and_words_stay_words():
    config = {
        "data": {"split": "cohorts/jane_doe/mine.json"},
        "experiment": {"splits": {"kits19": "cohorts/doe.json", "kits23": "kidney_lab"}, "table": "msalds/table1"},
        "model": {
            "weights": {"resnet50": "hospital/jane_doe/x.pth", "vgg16": "imagenet"},
            "loss": {"weights": [1, 0.5]},
            "stages": {"only": {"weights": r"hospital\y.pth"}},
        },
        "predictions": "jane/p",
    }
    assert public_config(config) == {
        "data": {"split": "mine.json"},
        "experiment": {"splits": {"kits19": "doe.json", "kits23": "kidney_lab"}, "table": "msalds/table1"},
        "model": {
            "weights": {"resnet50": "x.pth", "vgg16": "imagenet"},
            "loss": {"weights": [1, 0.5]},
            "stages": {"only": {"weights": "y.pth"}},
        },
        "predictions": "p",
    }


@pytest.mark.parametrize("path", ["/a/b.pth", "/a/b.pth/", "b.pth", r"C:\a\b.pth", "~/b.pth", "file:///a/b.pth"])
def test_the_last_part_of_a_path_of_any_system(path):
    assert last_part(path) == "b.pth"
