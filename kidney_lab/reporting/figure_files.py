"""Figures as files for a paper."""

from pathlib import Path
from typing import Any, Final

from matplotlib import rc_context
from matplotlib.figure import Figure

from kidney_lab.files import replacing

DPI: Final = 300

_MADE_BY: Final[dict[str, dict[str, Any]]] = {
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
}
"""What matplotlib would write of itself and of the hour: without it the same figure is the same file."""


def save_figure(folder: Path, name: str, figure: Figure, *, title: str | None = None) -> list[Path]:
    """Writes a figure as `<name>.png` of 300 dpi and as `<name>.pdf`, whose fonts are embedded as TrueType.

    Args:
        folder: made if missing.
        name: of the files.
        figure: on white.
        title: that the files tell of themselves; None: none.

    Returns:
        Both files.
    """
    written = []
    for ending, made_by in _MADE_BY.items():
        path = folder / f"{name}.{ending}"
        with rc_context({"pdf.fonttype": 42}), replacing(path) as temporary:
            figure.savefig(temporary, format=ending, dpi=DPI, facecolor="white", metadata={"Title": title, **made_by})
        written.append(path)
    return written
