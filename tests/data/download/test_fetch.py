import json
import threading
import time

import pytest

from kidney_lab.data.download.fetch import fetch, size_of
from kidney_lab.data.download.http import Patience, RefusedError, StoppedError, UnreachableError
from kidney_lab.data.download.source import RemoteFile

CHUNK = 1 << 18  # what may be lost of a transfer that breaks off
SCAN = "/scan.nii.gz"


@pytest.fixture
def target(tmp_path):
    return tmp_path / "case_00000" / "imaging.nii.gz"


@pytest.fixture
def part(target):
    return target.with_name("imaging.nii.gz.part")


@pytest.fixture
def get(server, session, patience, tmp_path):
    """Fetches the scan; the list that it returns holds the bytes that were counted."""

    def run(path=SCAN, to="case_00000/imaging.nii.gz", patience=patience, stopped=None, on_bytes=None):
        counted = []
        fetch(
            session,
            RemoteFile(server.url + path, to),
            tmp_path,
            patience=patience,
            stopped=stopped or threading.Event(),
            on_bytes=on_bytes or counted.append,
        )
        return counted

    return run


def only(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole_under_its_name_alone(server, scan, get, target):
    server.files[SCAN] = scan
    counted = get()

    assert target.read_bytes() == scan
    assert only(target.parent) == ["imaging.nii.gz"]
    assert sum(counted) == len(scan)
    assert server.of(SCAN)[0].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("fault", ["drop", "stall"])
def test_a_transfer_that_breaks_off_goes_on_where_it_stopped(server, scan, get, target, fault):
    server.files[SCAN], server.faults[SCAN] = scan, [fault, fault]
    counted = get()

    first, second, third = server.of(SCAN)
    assert target.read_bytes() == scan
    assert first.start is None
    assert first.sent - CHUNK < second.start <= first.sent
    assert second.start < third.start
    assert sum(request.sent for request in server.of(SCAN)) < len(scan) + 2 * CHUNK
    assert sum(counted) == len(scan)


def test_another_run_goes_on_where_the_last_one_stopped(server, scan, get, target, part):
    server.files[SCAN], server.faults[SCAN] = scan, ["drop"]
    with pytest.raises(UnreachableError, match=r"the connection .*1 attempts brought nothing more"):
        get(patience=Patience(attempts=1, timeout=0.3, pause=0))
    there = part.stat().st_size
    assert not target.exists()

    counted = get()

    assert there > 0
    assert server.of(SCAN)[1].start == there
    assert sum(counted) == len(scan) - there
    assert target.read_bytes() == scan


def test_progress_starts_the_count_of_attempts_anew(server, scan, get, target):
    server.files[SCAN], server.faults[SCAN] = scan, ["drop"] * 2
    get(patience=Patience(attempts=2, timeout=0.3, pause=0))

    assert target.read_bytes() == scan
    assert len(server.of(SCAN)) == 3


def test_a_server_that_ignores_ranges_gives_the_file_from_its_start(server, scan, get, target):
    server.files[SCAN], server.faults[SCAN], server.ranges = scan, ["drop"], False
    counted = get()

    assert target.read_bytes() == scan
    assert server.of(SCAN)[1].sent == len(scan)
    assert sum(counted) == len(scan)


def test_a_server_that_ignores_ranges_and_always_breaks_off_is_given_up(server, scan, get, target, patience):
    server.files[SCAN], server.faults[SCAN], server.ranges = scan, ["drop"] * 9, False
    with pytest.raises(UnreachableError):
        get()

    assert len(server.of(SCAN)) == patience.attempts


@pytest.mark.parametrize("etags", [True, False])
def test_a_file_that_changed_on_the_server_starts_over(server, scan, other_scan, get, target, etags):
    server.files[SCAN], server.faults[SCAN], server.etags = scan, ["drop"], etags
    with pytest.raises(UnreachableError):
        get(patience=Patience(attempts=1, timeout=0.3, pause=0))
    server.files[SCAN] = other_scan if etags else other_scan + other_scan  # without an ETag the size alone tells
    counted = get()

    assert target.read_bytes() == server.files[SCAN]
    assert [request.start is None for request in server.of(SCAN)] == [True, False, True]
    assert sum(counted) > 0


def test_a_file_that_became_shorter_on_the_server_starts_over(server, scan, mask, get, target):
    server.files[SCAN], server.faults[SCAN] = scan, ["drop"]
    with pytest.raises(UnreachableError):
        get(patience=Patience(attempts=1, timeout=0.3, pause=0))
    server.files[SCAN] = mask
    get()

    assert target.read_bytes() == mask


def test_bytes_of_an_unknown_version_are_not_gone_on_with(server, scan, get, target, part):
    server.files[SCAN] = scan
    part.parent.mkdir()
    part.write_bytes(b"of somebody else")
    counted = get()

    assert target.read_bytes() == scan
    assert server.of(SCAN)[0].start is None
    assert sum(counted) == len(scan) - len(b"of somebody else")


def test_a_run_that_ended_before_the_verification_asks_for_nothing(server, scan, get, target, part):
    part.parent.mkdir()
    part.write_bytes(scan)
    part.with_name(f"{part.name}.json").write_text(json.dumps({"etag": None, "size": len(scan)}))
    get()

    assert target.read_bytes() == scan
    assert only(target.parent) == ["imaging.nii.gz"]
    assert server.requests == []


@pytest.mark.parametrize("fault", ["html", "short"])
def test_what_is_not_the_file_is_deleted_and_fetched_anew(server, scan, get, target, fault):
    server.files[SCAN], server.faults[SCAN] = scan, [fault]
    counted = get()

    assert target.read_bytes() == scan
    assert [request.start for request in server.of(SCAN)] == [None, None]
    assert sum(counted) == len(scan)


def test_what_is_never_the_file_is_named_with_what_came(server, get, target, part, patience):
    server.faults[SCAN] = ["html"] * 9
    with pytest.raises(UnreachableError, match=r"what came is not the file.*<!DOCTYPE html>"):
        get()

    assert not target.exists()
    assert not part.exists()
    assert len(server.of(SCAN)) == patience.attempts


def test_retry_after_decides_on_the_pause(server, scan, get, target):
    server.files[SCAN], server.faults[SCAN] = scan, ["429 Retry-After=0", "503 Retry-After=0"]
    started = time.monotonic()
    get(patience=Patience(attempts=3, timeout=1, pause=30))

    assert target.read_bytes() == scan
    assert time.monotonic() - started < 5


def test_a_busy_server_is_asked_again_until_the_attempts_are_used_up(server, get, patience):
    server.faults[SCAN] = ["500"] * 9
    with pytest.raises(UnreachableError, match="500 Internal Server Error; 4 attempts"):
        get()

    assert len(server.of(SCAN)) == patience.attempts


@pytest.mark.parametrize(("status", "said"), [("404", "404 Not Found"), ("403", "403 Forbidden")])
def test_a_refusal_is_final(server, get, status, said):
    server.faults[SCAN] = [status] * 9
    with pytest.raises(RefusedError, match=said):
        get()

    assert len(server.of(SCAN)) == 1


def test_an_address_that_is_none_is_final(session, patience, tmp_path):
    with pytest.raises(RefusedError, match="no address of the web"):
        fetch(
            session,
            RemoteFile("htps://host/x", "x.json"),
            tmp_path,
            patience=patience,
            stopped=threading.Event(),
            on_bytes=print,
        )


def test_a_stop_keeps_what_came(server, scan, get, target, part):
    server.files[SCAN] = scan
    stopped = threading.Event()
    with pytest.raises(StoppedError):
        get(stopped=stopped, on_bytes=lambda n: stopped.set() if n > 0 else None)
    there = part.stat().st_size
    get()

    assert there == CHUNK
    assert server.of(SCAN)[1].start == there
    assert target.read_bytes() == scan


def test_json_is_verified_as_json(server, get, tmp_path):
    server.files["/kits.json"], server.faults["/kits.json"] = b'[{"case_id": "case_00000"}]', ["html"]
    get("/kits.json", "kits.json")

    assert json.loads((tmp_path / "kits.json").read_text()) == [{"case_id": "case_00000"}]


def test_the_size_comes_from_the_header(server, scan, session, patience):
    server.files[SCAN], server.faults[f"head:{SCAN}"] = scan, ["503", "429 Retry-After=0"]

    assert size_of(session, server.url + SCAN, patience, threading.Event()) == len(scan)
    assert len(server.of(SCAN, "HEAD")) == 3


def test_a_server_that_keeps_the_size_to_itself_gives_none(server, session, patience):
    server.faults[f"head:{SCAN}"] = ["405"]

    assert size_of(session, server.url + SCAN, patience, threading.Event()) is None


def test_the_size_that_the_hub_says_before_it_redirects_counts(server, session, patience):
    server.faults[f"head:{SCAN}"] = ["redirect /signed"]  # where HEAD is refused

    assert size_of(session, server.url + SCAN, patience, threading.Event()) == 123


def test_a_server_that_is_not_there_is_unreachable(session, patience):
    with pytest.raises(UnreachableError, match=r"the connection failed: .*refused.*; 4 attempts"):
        size_of(session, "http://127.0.0.1:9/x", patience, threading.Event())
