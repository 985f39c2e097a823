"""Priors: what an earlier stage predicted for the cases of a later stage's store, kept on that store's grid.

One folder per case: `label.b2nd` (uint8) and `box.json` (where its foreground is). A case's folder appears under its
name only when it is whole, so that an interrupted computation goes on with the cases that are missing. Nothing is held
in memory: a sample decodes its own box.
"""

import json
import shutil
import uuid
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kidney_lab.data.body import Box
from kidney_lab.data.foreground import foreground_box
from kidney_lab.data.store import Sliceable, open_array
from kidney_lab.data.store_writer import explaining_full_disk, save_label
from kidney_lab.errors import InputError


class StoredPrior:
    """What an earlier stage predicted for one case; files are opened on first use.

    Args:
        path: the case's folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def label(self) -> Sliceable:
        """Predicted labels, uint8 `(D, H, W)`."""
        return open_array(self.path / "label.b2nd")

    @cached_property
    def foreground_box(self) -> Box | None:
        """Smallest box that holds every voxel that was marked; None where the stage found nothing."""
        stored = json.loads((self.path / "box.json").read_text(encoding="utf-8"))
        if stored is None:
            return None
        d, h, w = (slice(start, stop) for start, stop in stored)
        return d, h, w


class Priors:
    """Predictions of one stage on one grid.

    Args:
        path: their folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._cases: dict[str, StoredPrior] = {}

    def missing(self, cases: Sequence[str]) -> list[str]:
        """Those of the cases that are not predicted yet."""
        return [case for case in cases if not (self.path / case).is_dir()]

    def __getitem__(self, case: str) -> StoredPrior:
        """Gives the prediction of one case, the same object every time: what is found out about it is kept with it.

        Raises:
            InputError: there is none.
        """
        if case not in self._cases:
            if not (self.path / case).is_dir():
                raise InputError(
                    f"{self.path} lacks the earlier stage's prediction of {case}: go on with the run by resume=."
                )
            self._cases[case] = StoredPrior(self.path / case)
        return self._cases[case]

    def write(self, case: str, labels: NDArray[np.uint8]) -> None:
        """Keeps the prediction of one case; one that is there already is kept.

        Args:
            case: id.
            labels: `(D, H, W)` on the later stage's grid.

        Raises:
            InputError: the disk is full.
        """
        box = foreground_box(labels)
        unfinished = self.path / f".{uuid.uuid4().hex}.{case}"
        try:
            with explaining_full_disk(self.path):
                unfinished.mkdir(parents=True)
                save_label(unfinished / "label.b2nd", labels)
                stored = None if box is None else [[s.start, s.stop] for s in box]
                (unfinished / "box.json").write_text(json.dumps(stored) + "\n", encoding="utf-8")
                if not (self.path / case).is_dir():
                    unfinished.rename(self.path / case)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
