"""Small stores that the tests of several views share."""

import numpy as np
import pytest

from kidney_lab.data.store import Cost, Store
from kidney_lab.data.store_writer import CaseRecord, create_store, write_case
from kidney_lab.geometry import grid_from_spacing

SHAPE = (10, 14, 16)


@pytest.fixture
def add_case():
    """Adds a case to a store: `add_case(path, name, image=…, label=…, annotations=…)`; spacing 2, 1, 1 mm."""

    def add(path, name, *, image=None, label=None, shape=SHAPE, annotations=()) -> None:
        image = np.zeros(shape if label is None else label.shape, np.int16) if image is None else image
        grid = grid_from_spacing(image.shape, (2.0, 1.0, 1.0))
        record = CaseRecord(
            image=image,
            label=label,
            grid=grid,
            source=grid,
            crop=tuple(slice(0, n) for n in image.shape),
            sources={},
            seed=0,
            annotations=annotations,
        )
        write_case(path, name, record, lambda: Cost(0.0, 0.0))

    return add


@pytest.fixture
def store(tmp_path, add_case) -> Store:
    """Three cases of noise that tells every place apart: two with labels 1 and 2, the last without any.

    In both, label 1 fills `[2:8, 3:12, 4:12]`, and label 2 is the single voxel (0, 13, 15).
    """
    rng = np.random.default_rng(0)
    create_store(tmp_path, {})
    for k, name in enumerate(["case_00000", "case_00001", "case_00002"]):
        label = np.zeros(SHAPE, np.uint8)
        if k < 2:
            label[2:8, 3:12, 4:12] = 1
            label[0, 13, 15] = 2
        add_case(tmp_path, name, image=rng.integers(-900, 900, SHAPE).astype(np.int16) + k, label=label)
    return Store(tmp_path)
