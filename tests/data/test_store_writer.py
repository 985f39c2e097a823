import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import filelock
import numpy as np
import pytest

from kidney_lab.data.store import Cost, Store
from kidney_lab.data.store_writer import CaseRecord, claim_case, create_store, is_current, write_case
from kidney_lab.errors import InputError
from kidney_lab.geometry import grid_from_spacing

PROJECT = Path(__file__).parents[2]
SHAPE = (20, 70, 66)


def record(*, version=0, shape=SHAPE, label=True, seed=0) -> CaseRecord:
    rng = np.random.default_rng(seed)
    label_map = np.zeros(shape, np.uint8)
    label_map[2:15, 5:50, 5:50] = 1
    label_map[4, 8, 8:11] = 2
    return CaseRecord(
        image=rng.integers(-1024, 3000, shape).astype(np.int16),
        label=label_map if label else None,
        grid=grid_from_spacing(shape, (2.0, 0.9, 0.8)),
        source=grid_from_spacing((40, 140, 132), (1.0, 0.45, 0.4)),
        crop=(slice(0, 40), slice(3, 137), slice(1, 130)),
        sources={"files": {"imaging.nii.gz": [10, version]}},
        seed=seed,
    )


def cost() -> Cost:
    return Cost(seconds=1.5, peak_mib=200.0)


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "store"
    create_store(path, {"dataset": "test"})
    write_case(path, "case_00000", record(), cost)
    write_case(path, "case_00001", record(label=False), cost)
    return Store(path)


def test_writing_the_same_case_again_keeps_the_first(store):
    before = (store.path / "case_00000" / "image.b2nd").stat().st_mtime_ns

    write_case(store.path, "case_00000", record(seed=1), cost)

    assert (store.path / "case_00000" / "image.b2nd").stat().st_mtime_ns == before


def test_a_case_made_from_other_files_is_replaced(store):
    write_case(store.path, "case_00000", record(version=1, seed=1), cost)

    assert is_current(store.path / "case_00000", record(version=1).sources)
    assert not is_current(store.path / "case_00000", record(version=0).sources)
    np.testing.assert_array_equal(Store(store.path)["case_00000"].image[...], record(seed=1).image)
    assert sorted(entry.name for entry in store.path.iterdir()) == ["case_00000", "case_00001", "store.json"]


def test_unfinished_folders_do_not_count_and_go_after_a_day(store):
    fresh, old = store.path / ".1.case_00002", store.path / ".2.case_00003"
    for folder in (fresh, old):
        folder.mkdir()
        (folder / "case.json").write_text("{}")
    two_days_ago = time.time() - 2 * 24 * 3600
    os.utime(old, (two_days_ago, two_days_ago))

    create_store(store.path, {"dataset": "test"})

    assert store.cases == ["case_00000", "case_00001"]
    assert fresh.exists()
    assert not old.exists()


def test_annotators_label_maps_lie_beside_the_reference(tmp_path):
    create_store(tmp_path / "store", {})
    drawn = [np.full(SHAPE, value, np.uint8) for value in (1, 2)]

    write_case(tmp_path / "store", "case_00000", replace(record(), annotations=drawn), cost)

    annotations = Store(tmp_path / "store")["case_00000"].annotations
    assert [annotation[3, 4, 5] for annotation in annotations] == [1, 2]


def test_a_store_of_an_older_format_is_made_anew_on_request_only(store):
    (store.path / "store.json").write_text(json.dumps({"format": 1}))

    with pytest.raises(InputError, match=r"format 1, .*prepare\.rebuild=true"):
        create_store(store.path, {})
    assert (store.path / "case_00000").is_dir()
    rebuilt = create_store(store.path, {}, rebuild=True)

    assert rebuilt.cases == []
    assert not list(store.path.parent.glob(".*outdated"))


def test_rebuilding_keeps_a_store_of_the_present_format(store):
    assert create_store(store.path, {}, rebuild=True).cases == ["case_00000", "case_00001"]


HOLD = """
import sys
from pathlib import Path
from kidney_lab.data.store_writer import claim_case
with claim_case(Path(sys.argv[1]), "case_00000", wait=False):
    print("mine", flush=True)
    sys.stdin.read()
"""


def test_a_claimed_case_is_left_to_the_process_that_claimed_it(store):
    held = "import sys; from pathlib import Path; from kidney_lab.data.store_writer import claim_case\n"
    held += (
        "with claim_case(Path(sys.argv[1]), 'case_00000', wait=False):\n    print('mine', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, store.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=PROJECT
    )
    assert other.stdout.readline() == b"mine\n"

    with pytest.raises(filelock.Timeout), claim_case(store.path, "case_00000", wait=False):
        pass
    with claim_case(store.path, "case_00001", wait=False):
        pass
    other.kill()
    other.wait()
    other.stdin.close()
    other.stdout.close()

    with claim_case(store.path, "case_00000", wait=True):  # a claim ends with its process
        pass


FILL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import test_store_writer as t
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # as a full disk: no file grows beyond this
try:
    t.write_case(Path(sys.argv[1]), "case_00002", t.record(), t.cost)
except t.InputError as error:
    print(error)
"""


def test_a_full_disk_is_one_sentence_and_leaves_the_store_as_it_was(store):
    result = subprocess.run(
        [sys.executable, "-c", FILL, store.path, Path(__file__).parent],
        capture_output=True,
        text=True,
        check=True,
        cwd=PROJECT,
    )

    assert "is full" in result.stdout
    assert "prepare.root=" in result.stdout
    assert store.cases == ["case_00000", "case_00001"]
    assert not [left for left in store.path.glob(".*") if left.name.endswith("case_00002")]


@pytest.mark.parametrize("damage", ["image.b2nd", "label.b2nd", "foreground.npz"])
def test_a_case_with_a_missing_or_shorter_file_is_not_current(store, damage):
    folder, sources = store.path / "case_00000", record().sources
    assert is_current(folder, sources)
    content = (folder / damage).read_bytes()
    (folder / damage).write_bytes(content[:-1])
    assert not is_current(folder, sources)
    (folder / damage).unlink()
    assert not is_current(folder, sources)

    write_case(store.path, "case_00000", record(), cost)

    assert is_current(folder, sources)


@pytest.mark.parametrize("content", ["[]", "null", "{", '{"sources": 1}'])
def test_damaged_facts_of_a_case_are_as_good_as_none(store, content):
    (store.path / "case_00000" / "case.json").write_text(content)

    assert not is_current(store.path / "case_00000", record().sources)


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_damaged_store_is_refused_and_made_anew_on_request(store, content):
    (store.path / "store.json").write_text(content)

    with pytest.raises(InputError, match=r"format unreadable, .*prepare\.rebuild=true"):
        create_store(store.path, {})
    assert create_store(store.path, {}, rebuild=True).cases == []


REBUILD = """
import sys
from pathlib import Path
from kidney_lab.data.store_writer import create_store
import test_store_writer as t

create_store(Path(sys.argv[1]), {}, rebuild=True)
t.write_case(Path(sys.argv[1]), sys.argv[2], t.record(), t.cost)
"""


def test_processes_that_rebuild_at_once_keep_each_other_s_cases(store):
    (store.path / "store.json").write_text(json.dumps({"format": 1}))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PROJECT), str(Path(__file__).parent)])}
    names = [f"case_{n:05d}" for n in range(10, 14)]

    processes = [subprocess.Popen([sys.executable, "-c", REBUILD, store.path, name], env=environment) for name in names]

    assert [process.wait(60) for process in processes] == [0] * 4
    assert Store(store.path).cases == names
