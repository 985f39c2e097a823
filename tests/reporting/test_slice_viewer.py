import base64
import json
import zlib
from io import BytesIO

import matplotlib.image
import numpy as np
import pytest

from kidney_lab.geometry import grid_from_spacing
from kidney_lab.reporting import slice_viewer
from kidney_lab.reporting.case_files import Scan
from kidney_lab.reporting.slice_viewer import pack_case


def scan(depth: int = 40, step_mm: float = 3.0) -> Scan:
    grid = grid_from_spacing((depth, 80, 100), (step_mm, 1.0, 1.0))
    reference = np.zeros(grid.shape, np.uint8)
    reference[8:30, 30:50, 40:70] = 1
    reference[14:20, 32:40, 42:50] = 2
    reference[17, 32:44, 42:56] = 2
    image = np.broadcast_to(np.linspace(-200, 300, 100), grid.shape).astype(np.int16)
    return Scan(image, reference, grid)


def labels(packed: str, shape: list[int]) -> np.ndarray:
    return np.frombuffer(zlib.decompress(base64.b64decode(packed)), np.uint8).reshape(-1, *shape)


def test_label_maps_come_back_as_they_were():
    given, moved = scan(), np.roll(scan().reference, 3, axis=1)
    data = json.loads(pack_case(given, {"A": given.reference, "B": moved}).data)

    rows, columns = slice(10, 73), slice(20, 90)  # 30 to 53 and 40 to 70, and 20 mm on each side
    assert data["slices"] == list(range(5, 33))  # 8 to 30, and 10 mm of slices 3 mm apart
    assert data["shape"] == [63, 70]
    np.testing.assert_array_equal(labels(data["reference"], data["shape"]), given.reference[5:33, rows, columns])
    assert [method["name"] for method in data["predictions"]] == ["A", "B"]
    np.testing.assert_array_equal(labels(data["predictions"][1]["labels"], [63, 70]), moved[5:33, rows, columns])
    assert [label["name"] for label in data["labels"]] == ["kidney", "tumor"]
    assert (data["depth"], data["pixel"], data["step"]) == (40, [1.0, 1.0], 3.0)


def test_it_opens_at_the_slice_with_most_tumor():
    data = json.loads(pack_case(scan(), {"A": scan().reference}).data)
    assert data["slices"][data["start"]] == 17


def test_pictures_are_the_soft_tissue_window():
    data = json.loads(pack_case(scan(), {"A": scan().reference}).data)
    picture = matplotlib.image.imread(BytesIO(base64.b64decode(data["images"][0])), format="jpeg")
    expected = np.clip((scan().image[5, 10:70, 20:90] + 160) / 400, 0, 1) * 255
    assert np.abs(picture[..., 0] - expected).mean() < 2


@pytest.mark.parametrize("limit", [60_000, 25_000])
def test_a_heavy_case_shows_fewer_slices_and_the_opening_one_still(monkeypatch, limit):
    monkeypatch.setattr(slice_viewer, "MAX_BYTES", limit)
    thin = scan(depth=400, step_mm=0.3)
    thin.reference[50:300, 30:50, 40:70] = 1
    packed = pack_case(thin, {"A": thin.reference})
    data = json.loads(packed.data)
    assert len(packed.data) <= limit or packed.n_slices <= 16
    assert packed.n_slices == len(data["images"]) < 96
    assert set(np.diff(data["slices"])) == {packed.every}
    assert data["slices"][data["start"]] == 17


def test_a_case_without_any_label_is_shown_whole():
    empty = Scan(scan().image, np.zeros_like(scan().reference), scan().grid)
    data = json.loads(pack_case(empty, {"A": empty.reference}).data)
    assert (len(data["slices"]), data["shape"]) == (40, [80, 100])


def test_no_name_can_end_the_element_that_holds_the_data():
    assert "<" not in pack_case(scan(), {"</script>": scan().reference}).data
