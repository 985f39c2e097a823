"""`task=fingerprint`: spacing and shape of a dataset's cases from their headers, and the network planned from them."""

import logging
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from kidney_lab.data.dataset import Dataset
from kidney_lab.data.exclusions import excluded_cases
from kidney_lab.data.fingerprint import statistics_frame, take_fingerprint
from kidney_lab.data.kits import Case
from kidney_lab.data.split_files.load import some
from kidney_lab.errors import InputError
from kidney_lab.files import make_folder, write_text
from kidney_lab.networks.planning import Plan, plan
from kidney_lab.reporting.fingerprint import (
    PublishedStatistics,
    list_in_brackets,
    published_section,
    statistics_section,
)
from kidney_lab.reporting.sections import section_markdown
from kidney_lab.tasks.score_tables import print_table
from kidney_lab.tasks.screen import log_to_screen
from kidney_lab.tasks.values import check_numbers
from kidney_lab.wording import counted

log = logging.getLogger(__name__)


def fingerprint(config: DictConfig) -> None:
    """Writes `fingerprint.csv`, `statistics.csv` and `fingerprint.md` into `output`, and prints what the last holds."""
    check_numbers(config)
    published = read_published(config)
    dataset: Dataset = instantiate(config.data, _convert_="all")
    with log_to_screen():
        found = take_fingerprint(chosen_cases(dataset, str(config.part)))
    planned = plan(found, out_channels=1 + len(dataset.labels), memory_gb=float(config.memory_gb))
    statistics, n_cases = found.statistics(), len(found.cases)
    sections = [statistics_section(statistics, dataset=dataset.name, n_cases=n_cases)]
    if published is not None:
        sections.append(published_section(statistics, published, n_cases=n_cases))
    command = " ".join(overrides(planned))
    shape = " x ".join(f"{n:g}" for n in planned.median_shape)
    sentence = (
        f"nnU-Net's rules plan for {config.memory_gb:g} GB, on a grid whose median case is {shape} voxels (D, H, W):"
    )

    output = make_folder(Path(config.output))
    lines = [line for section in sections for line in section_markdown(section)]
    text = "\n".join([f"# Fingerprint of {dataset.name}", "", *lines, "## Plan", "", sentence, "", f"    {command}"])
    write_text(output / "fingerprint.md", text + "\n")
    write_text(output / "fingerprint.csv", found.frame().to_csv(index=False))
    write_text(output / "statistics.csv", statistics_frame(statistics).to_csv(index=False))
    for section in sections:
        print(section.caption)
        print_table(section.title, section.header, [row.cells for row in section.rows])
    print(f"{sentence}\n  {command}")
    print(f"tables  {output / 'fingerprint.md'}")


def read_published(config: DictConfig) -> PublishedStatistics | None:
    """What an experiment gives of a paper's table; None without one.

    Raises:
        InputError: keys are missing or unknown.
    """
    given = OmegaConf.to_container(config.published) if config.published is not None else None
    if given is None:
        return None
    try:
        return PublishedStatistics(**given)  # type: ignore[arg-type]  # whatever the user wrote, checked right here
    except TypeError as error:
        raise InputError(f"published holds {given} ({error}): give source, n_cases and values.") from error


def chosen_cases(dataset: Dataset, part: str) -> list[Case]:
    """Cases of the fingerprint: all that are not excluded, with or without a reference, or those trained on.

    Args:
        dataset: where they are.
        part: `all` or `train`.

    Raises:
        InputError: `part` is neither.
    """
    if part == "train":
        return [dataset.cases[name] for name in dataset.split.train]
    if part != "all":
        raise InputError(f"part={part} is unknown: choose all (cases) or train (those of data.split's training part).")
    _, excluded = excluded_cases(dataset.exclude)
    kept = [case for name, case in sorted(dataset.cases.items()) if name not in excluded]
    empty = [case.id for case in kept if not case.files]
    if empty:
        log.warning("%s without an image and a reference left out: %s", counted(len(empty), "case"), some(empty))
    return [case for case in kept if case.files]


def overrides(planned: Plan) -> list[str]:
    """The plan as the overrides that make `model=nnunet_plain` that network."""
    return [
        "model=nnunet_plain",
        f"model.spacing={list_in_brackets(planned.spacing)}",
        f"model.roi_size={list_in_brackets(planned.patch_size)}",
        f"model.channels={list_in_brackets(planned.channels)}",
        f"model.strides={list_in_brackets(planned.strides)}",
        f"model.kernel_size={list_in_brackets(planned.kernel_sizes)}",
        f"model.supervised_levels={planned.supervised_levels}",
        f"model.batch_size={planned.batch_size}",
    ]
