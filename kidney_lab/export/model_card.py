"""The model card of a bundle: README.md as model hubs and their readers expect it.

The form is Hugging Face's (https://huggingface.co/docs/hub/model-cards): facts for machines at the head in YAML, scores
among them (`model-index`), and for people what the model is, what it was trained and tested on, and what it is not for
(M. Mitchell et al., "Model cards for model reporting", FAT* 2019, doi:10.1145/3287560.3287596).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from omegaconf import OmegaConf

from kidney_lab.metrics.scoring import find_metric
from kidney_lab.reporting.formatting import MISSING, count, decimal, text, words
from kidney_lab.reporting.metric_words import metric_name, metric_title
from kidney_lab.reporting.provenance import split_words
from kidney_lab.reporting.sections import markdown_table
from kidney_lab.wording import counted

_EDITIONS: Final = {"kits19": "KiTS19", "kits21": "KiTS21", "kits23": "KiTS23"}
_ADDRESS: Final = "https://kits-challenge.org"
_PARTS: Final = (("train", "for training"), ("val", "for validation"), ("test", "for the test"))

INTENDED_USE: Final = (
    "Research on segmentation of kidneys, kidney tumors and cysts in abdominal CT, such as comparisons of methods, and "
    "as a first draft of contours that a reader corrects.",
    "**Not a medical device.** It is not approved or cleared for clinical use anywhere. Do not diagnose, plan a "
    "treatment or triage patients by its output.",
)
LIMITS: Final = (
    "It was made for CT in Hounsfield units; other modalities give meaningless labels without a warning.",
    "Scanners, contrast phases, populations and diseases unlike those of the training data may segment worse than the "
    "scores below say; nothing tells so case by case.",
    "Small tumors are missed and cysts taken for tumors more often than the mean scores suggest: look at the scores by "
    "size in the report of the run.",
    "No measurement of a label map (volume, diameter, side) is more certain than the label map itself.",
)


def model_card(
    config: Mapping[str, Any],
    record: Mapping[str, Any],
    summary: Mapping[str, Any],
    *,
    onnx: bool = False,
) -> str:
    """Writes the card of a trained method.

    Args:
        config: resolved, as it stands in the bundle.
        record: of the bundle's `run.json`; what an older run does not say is left open.
        summary: of `summary.json`; empty where the run has no scores.
        onnx: whether the bundle holds the network as ONNX.

    Returns:
        Markdown with YAML front matter.
    """
    name, data = str(record.get("name", "kidney_lab model")), dict(record.get("data") or {})
    scores = {region: figures for region, figures in summary.items() if isinstance(figures, Mapping)}
    head = OmegaConf.to_yaml(OmegaConf.create(_front_matter(name, data, scores)))
    regions = ", ".join(words(region).lower() for region in (config.get("data") or {}).get("regions") or scores)
    lines = [
        *("---", head.rstrip(), "---", "", f"# {name}", ""),
        f"Segments {regions or 'kidneys and kidney tumors'} in abdominal CT. Trained and exported by `kidney_lab`.",
        "",
        *_synthesized(data),
        *("## Intended use", "", *_listed(INTENDED_USE), "## Limits", "", *_listed(LIMITS)),
        *_use(),
        *(_onnx(config, record) if onnx else []),
        *("## Method", "", *_stages(config, record), ""),
        *("## Training data", "", *_listed(_data(data)), "## Scores", "", *_scores(scores, data), ""),
        *("## Origin", "", *_listed(_origin(record))),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _front_matter(name: str, data: Mapping[str, Any], scores: Mapping[str, Any]) -> dict[str, Any]:
    dataset = str(data.get("name", "unknown"))
    results = [
        {"type": metric, "name": f"{metric_name(metric)}, {words(region).lower()}", "value": figures["mean"]}
        for region, metrics in scores.items()
        for metric, figures in metrics.items()
        if figures.get("mean") is not None and _ranks(metric)
    ]
    title = _EDITIONS.get(dataset, dataset) + (" (synthesized images)" if data.get("synthesized") else "")
    result = {
        "task": {"type": "image-segmentation"},
        "dataset": {"type": dataset, "name": title, "split": str(data.get("scored", "test"))},
        "metrics": results,
    }
    return {
        "library_name": "kidney_lab",
        "pipeline_tag": "image-segmentation",
        "license": "other",
        "license_name": "see-training-data",
        "tags": ["medical-imaging", "ct", "kidney", "kidney-tumor", "segmentation", "pytorch", "monai"],
        "datasets": [dataset],
        "metrics": sorted({result["type"] for result in results}),
        "model-index": [{"name": name, "results": [result] if results else []}],
    }


def _ranks(metric: str) -> bool:
    """Whether a metric says that a model is better or worse, as the number of lesions in the reference does not."""
    known = find_metric(metric)
    return known is None or known.better != "neither"


def _synthesized(data: Mapping[str, Any]) -> list[str]:
    if not data.get("synthesized"):
        return []
    return [
        "> **Synthesized images.** The CT images that this model was trained and scored on are painted by a program, "
        "not scanned. Its scores say nothing about patients.",
        "",
    ]


def _use() -> list[str]:
    return [
        *("## Use", "", "```python", "import kidney_lab", ""),
        'method = kidney_lab.load_method("path/to/this/folder")',
        'labels = method.segment_file("scan.nii.gz")  # 0 background, 1 kidney, 2 tumor, 3 cyst',
        *("```", ""),
        "Or `python -m kidney_lab task=predict run=path/to/this/folder input=scans/ output=labels/`.",
        "",
    ]


def _onnx(config: Mapping[str, Any], record: Mapping[str, Any]) -> list[str]:
    """What stands around the network where it is used without this program."""
    name, stage = next(iter(_enabled(config).items()))
    shape = ((record.get("stages") or {}).get(name) or {}).get("input_shape") or []
    size = " x ".join(str(n) for n in shape[1:]) or _inputs(stage)
    output = (stage.get("module") or {}).get("output") or {}
    if output.get("kind") == "labels" or _class(output) == "LabelOutput":
        channels = f"softmax: background, {', '.join(output.get('labels') or [])}"
    else:
        channels = f"a sigmoid each: {', '.join(output.get('regions') or [])}"
    return [
        f"`stages/{name}/model.onnx` is the network alone: float32 `image` (batch x {size}) to `logits` ({channels}). "
        "What stands around it is left to the caller, as `config.yaml` has it: orientation (slices from superior to "
        "inferior, rows from anterior to posterior, columns from the patient's right to the left), grid, intensities, "
        "windows and post-processing.",
        "",
    ]


def _stages(config: Mapping[str, Any], record: Mapping[str, Any]) -> list[str]:
    trained = record.get("stages") or {}
    rows = [
        [
            name,
            _class((stage.get("module") or {}).get("network") or {}),
            count((trained.get(name) or {}).get("parameters")),
            _triple((stage.get("grid") or {}).get("spacing"), "the scan's own"),
            _inputs(stage),
        ]
        for name, stage in _enabled(config).items()
    ]
    return markdown_table(["stage", "network", "parameters", "grid (mm)", "input"], rows, n_text=2)


def _data(data: Mapping[str, Any]) -> list[str]:
    name = str(data.get("name", MISSING))
    facts = [
        f"Dataset: {_EDITIONS.get(name, name)}"
        + (f" ({_ADDRESS}); its data are CC BY-NC-SA 4.0, non-commercial" if name in _EDITIONS else "")
        + "."
    ]
    if "n_train" in data:
        numbers = (f"{data[f'n_{part}']} {use}" for part, use in _PARTS if f"n_{part}" in data)
        facts.append(f"Cases, split by patient: {', '.join(numbers)}; split {split_words(data)}.")
    lists = data.get("exclude") or []
    excluded = f"{', '.join(lists)} ({counted(int(data.get('n_excluded', 0)), 'case')})" if lists else "none"
    return [*facts, f"Excluded: {excluded}."]


def _scores(scores: Mapping[str, Any], data: Mapping[str, Any]) -> list[str]:
    if not scores:
        return ["This run has no scores."]
    rows = [
        [
            *(words(region), metric_title(metric)),
            *(decimal(figures[key]) for key in ("mean", "std", "median")),
            *(str(figures[key]) for key in ("n", "n_undefined")),
        ]
        for region, metrics in scores.items()
        for metric, figures in metrics.items()
    ]
    part = str(data.get("scored", "test"))
    notes = {
        "test": "Of the test cases, on their own grids, after post-processing; no test case was seen in training.",
        "validation": "Of the **validation** cases, by which the weights were chosen, since the split has no test "
        "cases: these scores are better than those of a test.",
    }
    header = ["region", "metric", "mean", "sd", "median", "cases", "undefined"]
    return [notes.get(part, f"Of the {part} cases."), "", *markdown_table(header, rows, n_text=2)]


def _origin(record: Mapping[str, Any]) -> list[str]:
    changed = " with uncommitted changes" if record.get("dirty") else ""
    versions = ", ".join(f"{name} {value}" for name, value in (record.get("versions") or {}).items())
    return [
        f"Commit {text(record.get('commit'))}{changed}, configuration {text(record.get('config_hash'))}, seed "
        f"{text(record.get('seed'))}, precision {text(record.get('precision'))}.",
        f"Trained on {text(record.get('device'))}; finished {text(record.get('finished'))}.",
        f"Versions: {versions or MISSING}.",
    ]


def _enabled(config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    stages = (config.get("model") or {}).get("stages") or {}
    return {str(name): stage for name, stage in stages.items() if stage.get("enabled", True)}


def _class(node: Mapping[str, Any]) -> str:
    return str(node.get("_target_", MISSING)).rpartition(".")[2]


def _inputs(stage: Mapping[str, Any]) -> str:
    view = stage.get("view") or {}
    return _triple(view.get("roi_size") or view.get("size"), MISSING)


def _triple(values: Sequence[float] | None, absent: str) -> str:
    return " x ".join(f"{value:g}" for value in values) if values else absent


def _listed(sentences: Sequence[str]) -> list[str]:
    return [*(f"- {sentence}" for sentence in sentences), ""]
