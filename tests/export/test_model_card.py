import yaml

from kidney_lab.export.model_card import INTENDED_USE, model_card

CONFIG = {
    "data": {"regions": ["kidney_and_mass", "tumor"]},
    "model": {
        "stages": {
            "coarse": {"module": {"network": {"_target_": "monai.networks.nets.UNet"}}, "enabled": False},
            "fine": {
                "module": {
                    "network": {"_target_": "monai.networks.nets.DynUNet"},
                    "output": {
                        "kind": "labels",
                        "labels": ["kidney", "tumor"],
                        "regions": ["kidney_and_mass", "tumor"],
                    },
                },
                "grid": {"spacing": [3.0, 0.8, 0.8]},
                "view": {"roi_size": [48, 96, 96]},
            },
        }
    },
}
RECORD = {
    "name": "unet3d-kits23",
    "seed": 4,
    "commit": "33b2089",
    "dirty": True,
    "config_hash": "73fc448d599b",
    "precision": "bf16-mixed",
    "versions": {"torch": "2.13.0"},
    "stages": {"fine": {"parameters": 1_234_567, "input_shape": [1, 1, 48, 96, 96]}},
    "data": {
        "name": "kits23", "synthesized": False, "n_train": 300, "n_val": 60, "n_test": 98, "split": "kidney_lab",
        "fold": 0, "split_hash": "5b1c", "scored": "test", "exclude": ["nnunet2019"], "n_excluded": 2,
    },
}  # fmt: skip
FIGURES = {"mean": 0.91249, "std": 0.0512, "median": 0.934, "n": 97, "n_undefined": 1}
SUMMARY = {
    "scored": "test",
    "kidney_and_mass": {"dice": FIGURES, "hd95": {**FIGURES, "mean": None, "median": None, "std": None}},
    "tumor": {"dice": {**FIGURES, "mean": 0.5}, "lesion_count": {**FIGURES, "mean": 1.2}},
}


def parts(card: str) -> tuple[dict, str]:
    _, head, body = card.split("---\n", 2)
    return yaml.safe_load(head), body


def test_the_head_holds_the_scores_for_machines():
    head, _ = parts(model_card(CONFIG, RECORD, SUMMARY))
    (model,) = head["model-index"]
    (result,) = model["results"]
    assert (model["name"], result["task"]["type"]) == ("unet3d-kits23", "image-segmentation")
    assert result["dataset"] == {"type": "kits23", "name": "KiTS23", "split": "test"}
    assert result["metrics"] == [
        {"type": "dice", "name": "Dice, kidney and mass", "value": 0.91249},
        {"type": "dice", "name": "Dice, tumor", "value": 0.5},
    ]
    assert (head["license"], head["datasets"], head["metrics"]) == ("other", ["kits23"], ["dice"])


def test_the_table_holds_every_score():
    _, body = parts(model_card(CONFIG, RECORD, SUMMARY))
    assert "| Kidney and mass | Dice ↑ | 0.912 | 0.051 | 0.934 | 97 | 1 |" in body
    assert "| Kidney and mass | Hausdorff distance, 95th percentile (mm) ↓ | — | — | — | 97 | 1 |" in body
    assert "Of the test cases, on their own grids" in body


def test_what_the_model_is_and_is_not_for_is_said():
    _, body = parts(model_card(CONFIG, RECORD, SUMMARY))
    assert "**Not a medical device.**" in body
    assert all(sentence in body for sentence in INTENDED_USE)
    assert "CC BY-NC-SA 4.0" in body
    assert "300 for training, 60 for validation, 98 for the test; split kidney_lab, fold 0 (5b1c)." in body
    assert "Excluded: nnunet2019 (2 cases)." in body
    assert "Synthesized" not in body
    assert "Commit 33b2089 with uncommitted changes, configuration 73fc448d599b, seed 4, precision bf16-mixed." in body


def test_the_stages_that_take_part_are_listed():
    _, body = parts(model_card(CONFIG, RECORD, SUMMARY))
    assert "| fine | DynUNet | 1.23 M | 3 x 0.8 x 0.8 | 48 x 96 x 96 |" in body
    assert "| coarse |" not in body


def test_synthesized_data_are_called_so():
    record = {**RECORD, "data": {**RECORD["data"], "synthesized": True}}
    head, body = parts(model_card(CONFIG, record, SUMMARY))
    assert "**Synthesized images.**" in body
    assert "say nothing about patients" in body
    assert head["model-index"][0]["results"][0]["dataset"]["name"] == "KiTS23 (synthesized images)"


def test_scores_of_validation_cases_are_called_so():
    record = {**RECORD, "data": {**RECORD["data"], "scored": "validation"}}
    head, body = parts(model_card(CONFIG, record, SUMMARY))
    assert "Of the **validation** cases, by which the weights were chosen" in body
    assert head["model-index"][0]["results"][0]["dataset"]["split"] == "validation"


def test_onnx_is_explained_where_it_is_there():
    assert "model.onnx" not in model_card(CONFIG, RECORD, SUMMARY)
    body = model_card(CONFIG, RECORD, SUMMARY, onnx=True)
    assert "`stages/fine/model.onnx` is the network alone: float32 `image` (batch x 1 x 48 x 96 x 96)" in body
    assert "`logits` (softmax: background, kidney, tumor)" in body


def test_a_run_that_says_little_still_has_a_card():
    head, body = parts(model_card({}, {}, {}))
    assert head["model-index"][0]["results"] == []
    assert "This run has no scores." in body
    assert "**Not a medical device.**" in body
