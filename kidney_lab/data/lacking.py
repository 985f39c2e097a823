"""What a dataset's folder lacks for what is asked of it, in one sentence for all its cases."""

from collections.abc import Sequence
from pathlib import Path

from kidney_lab.data.kits import Annotation, Case
from kidney_lab.data.split_files.load import some
from kidney_lab.wording import counted

_EDITIONS = {"segmentation.nii.gz": "data=kits19 or data=kits23", "aggregated_MAJ_seg.nii.gz": "data=kits21"}


def no_reference(root: Path, cases: Sequence[str], *, label_files: Sequence[str], dataset: str) -> str:
    """Says that no case has a reference, and whether the folder is that of another edition.

    Args:
        root: folder of the cases.
        cases: ids.
        label_files: names of the reference that were looked for.
        dataset: its name.

    Returns:
        The sentence.
    """
    sentence = (
        f"data.root={root} holds {counted(len(cases), 'case')} but no {' or '.join(label_files)}, the reference of "
        f"data={dataset}; there is "
    )
    for file, editions in _EDITIONS.items():
        if any((root / case / file).is_file() for case in cases):
            return f"{sentence}{file} instead: did you mean {editions}?"
    return f"{sentence}no other reference either: fetch them by task=download, or name the folder that holds them."


def no_annotators(training: Sequence[Case], *, annotation: Annotation, root: Path) -> str:
    """Names the training cases that lack the masks of single annotators.

    Args:
        training: cases, one of which at least lacks them.
        annotation: what the training learns from.
        root: folder of the cases.

    Returns:
        The sentence.
    """
    lacking = [case.id for case in training if not case.instances]
    return (
        f"data.annotation={annotation} learns from masks of single annotators, which {len(lacking)} of the "
        f"{counted(len(training), 'training case')} in data.root={root} lack: {some(lacking)}; set "
        "data.annotation=majority, or fetch them by task=download download.instances=true."
    )
