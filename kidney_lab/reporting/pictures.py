"""Pictures of cases with the label maps of several methods: slice viewers for the page, panels for page and paper."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from kidney_lab.errors import InputError
from kidney_lab.reporting.case_files import Scan, read_prediction, read_scan
from kidney_lab.reporting.formatting import decimal, words
from kidney_lab.reporting.gallery import Gallery, Role, Shown, roles
from kidney_lab.reporting.method_panels import PanelRow, draw_panels, page_png, panel_row
from kidney_lab.reporting.scores import values_of
from kidney_lab.reporting.slice_drawing import WINDOW_WORDS
from kidney_lab.reporting.slice_viewer import PackedCase, pack_case

MAX_VIEWERS: Final = 4
"""Of one page, which is to stay light enough for a mail."""


@dataclass(frozen=True)
class Viewer:
    """A slice viewer.

    Args:
        id: anchor.
        case: id of the case.
        title: the case, and why it is shown.
        packed: what it shows.
        methods: name, name of the run that is shown, and a text with its Dice, in the order of the data.
        caption: below it.
    """

    id: str
    case: str
    title: str
    packed: PackedCase
    methods: list[tuple[str, str, str]]
    caption: str


@dataclass(frozen=True, eq=False)
class MethodPanels:
    """A figure of qualitative panels.

    Args:
        name: of its files.
        figure: to be written to them.
        png: base64, for the page.
        title: what is compared; empty for runs of no table.
        alt: what it shows.
        caption: below it.
    """

    name: str
    figure: Figure
    png: str
    title: str
    alt: str
    caption: str


@dataclass(frozen=True, eq=False)
class Pictures:
    """All that a report shows of cases.

    Args:
        viewers: at most `MAX_VIEWERS`.
        panels: one for every gallery whose scans are there.
        notes: sentences on what is not shown.
    """

    viewers: list[Viewer]
    panels: list[MethodPanels]
    notes: list[str]


def case_pictures(galleries: Sequence[Gallery]) -> Pictures:
    """Reads the telling cases and makes their pictures.

    Args:
        galleries: of the report.

    Returns:
        Viewers of the worst and the median case of every gallery, and of single methods while there is room; panels of
        the worst, the median and the best case. What lacks its files is a sentence in `notes`.
    """
    viewers: list[Viewer] = []
    panels: list[MethodPanels] = []
    notes: list[str] = []
    for gallery in galleries:
        room = min(max(MAX_VIEWERS // len(galleries), 2), MAX_VIEWERS - len(viewers))
        if room <= 0:
            notes.append(f"No slices of {gallery.title}: a page holds {MAX_VIEWERS} cases at most.")
        own = _of_gallery(gallery, room, name="panels" if len(galleries) == 1 else f"panels-{gallery.id}")
        viewers += own.viewers
        panels += own.panels
        notes += own.notes
    return Pictures(viewers, panels, list(dict.fromkeys(notes)))


def _of_gallery(gallery: Gallery, room: int, *, name: str) -> Pictures:
    """Pictures of one gallery, with `room` viewers at most."""
    in_viewer, in_panels = dict(list(roles(gallery).items())[:room]), roles(gallery, best=True)
    viewers: list[Viewer] = []
    rows: dict[str, PanelRow] = {}
    lacking: dict[str, list[str]] = {}  # cases by what is wrong with them
    for case in track(list({**in_viewer, **in_panels}), "Drawing cases", console=Console(stderr=True), transient=True):
        try:
            scan = _scan(gallery, case)
            labels, gone = _label_maps(gallery, case, scan)
        except InputError as error:
            lacking.setdefault(str(error), []).append(case)
            continue
        for sentence in gone:
            lacking.setdefault(sentence, []).append(case)
        dice = _dice(gallery, case)
        if case in in_viewer:
            viewers.append(_viewer(gallery, case, in_viewer[case], pack_case(scan, labels), labels, dice))
        if case in in_panels:
            role = f"{' and '.join(role.word for role in in_panels[case])} case"
            rows[case] = panel_row(case, role, scan, labels, region=gallery.region, dice=dice)
    ordered = [rows[case] for case in in_panels if case in rows]
    return Pictures(
        viewers,
        [_panels(gallery, ordered, name)] if ordered else [],
        [f"Not shown of {', '.join(cases)}: {reason}" for reason, cases in lacking.items()],
    )


def _dice(gallery: Gallery, case: str) -> dict[str, float]:
    """Dice of a case by method, of the run that is shown; NaN where undefined."""
    return {
        shown.name: float(values_of(shown.run.metrics, gallery.region, "dice").get(case, float("nan")))
        for shown in gallery.methods
    }


def _scan(gallery: Gallery, case: str) -> Scan:
    """The scan, from the first run that still finds it.

    Raises:
        InputError: none does; with what the first says.
    """
    errors = []
    for shown in gallery.methods:
        try:
            return read_scan(shown.run, case)
        except InputError as error:
            errors.append(error)
    raise errors[0]


def _label_maps(gallery: Gallery, case: str, scan: Scan) -> tuple[dict[str, NDArray[np.uint8]], list[str]]:
    """Label maps by method, and sentences on those that are gone.

    Raises:
        InputError: all are.
    """
    found: dict[str, NDArray[np.uint8]] = {}
    gone = []
    for shown in gallery.methods:
        try:
            found[shown.name] = read_prediction(shown.run, case, scan.grid)
        except InputError as error:
            gone.append(str(error))
    if not found:
        raise InputError(gone[0])
    return found, gone


def _viewer(
    gallery: Gallery,
    case: str,
    why: Sequence[Role],
    packed: PackedCase,
    labels: Mapping[str, NDArray[np.uint8]],
    dice: Mapping[str, float],
) -> Viewer:
    runs = {shown.name: shown.run.name for shown in gallery.methods}
    made_up = " SYNTHESIZED image." if gallery.synthesized else ""
    which = {1: "Every slice", 2: "Every 2nd slice", 3: "Every 3rd slice"}.get(
        packed.every, f"Every {packed.every}th slice"
    )
    caption = f"{_further(why)}{which} around what is labelled.{made_up} {WINDOW_WORDS} {_shown_runs(gallery.methods)}"
    return Viewer(
        id="-".join(["slices", *([gallery.id] if gallery.id else []), case]),
        case=case,
        title=_title(case, why, several=len(gallery.methods) > 1),
        packed=packed,
        methods=[(name, runs[name], f"{name}: {words(gallery.region)} Dice {decimal(dice[name])}") for name in labels],
        caption=caption.rstrip(),
    )


def _title(case: str, why: Sequence[Role], *, several: bool) -> str:
    mean = " and ".join(role.word for role in why if role.method is None)
    if mean:
        return f"{case}: {mean} case{' by the mean of all methods' if several else ''}"
    return f"{case}: {why[0].word} case of {why[0].method}"


def _further(why: Sequence[Role]) -> str:
    """Says of which single methods the case is the worst or the median one."""
    parts = []
    for word in dict.fromkeys(role.word for role in why):
        methods = [role.method for role in why if role.word == word and role.method is not None]
        parts += [f"{word.capitalize()} case of {', '.join(methods)}. "] if methods else []
    return "".join(parts)


def _panels(gallery: Gallery, rows: Sequence[PanelRow], name: str) -> MethodPanels:
    names = [shown.name for shown in gallery.methods]
    figure = draw_panels(rows, names, note="SYNTHESIZED images" if gallery.synthesized else "")
    region, cases = words(gallery.region).lower(), ", ".join(row.case for row in rows)
    several = " by the mean of all methods" if len(names) > 1 else ""
    left_out = f" {gallery.n_left_out} more methods are not shown." if gallery.n_left_out else ""
    return MethodPanels(
        name=name,
        figure=figure,
        png=base64.b64encode(page_png(figure)).decode("ascii"),
        title=gallery.title,
        alt=f"Slices of {cases} with the label maps of {', '.join(names)}, and the reference.",
        caption=(
            f"Worst, median and best case{several}, ranked by Dice of the {region}: the slice with most tumor. In the "
            f"corner Dice and average surface distance (ASD) of the {region} in the whole case. "
            f"{_shown_runs(gallery.methods)}{left_out}"
        ).rstrip(),
    )


def _shown_runs(methods: Sequence[Shown]) -> str:
    """Says which run of a row is shown, where it has several."""
    chosen = [f"{shown.name}, seed {shown.run.record.get('seed')}" for shown in methods if shown.n_runs > 1]
    if not chosen:
        return ""
    return f"Of several runs of a row the one whose mean Dice is nearest to that of all is shown: {'; '.join(chosen)}."
