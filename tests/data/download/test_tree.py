import json
import threading

import pytest

from kidney_lab.data.download.http import RefusedError, UnreachableError
from kidney_lab.data.download.tree import list_files


def blob(path, size):
    return {"path": path, "type": "blob", "size": size}


@pytest.fixture
def listed(server, session, patience):
    def run(wanted=lambda path: True, url="/tree"):
        files = list_files(session, server.url + url, wanted, patience=patience, stopped=threading.Event())
        return dict(files)

    return run


def test_one_answer_holds_every_file(server, listed):
    server.files["/tree"] = json.dumps(
        {"tree": [blob("a.txt", 1), {"path": "data", "type": "tree"}, blob("data/b", 2)], "truncated": False}
    ).encode()

    assert listed(url="/tree?recursive=1") == {"a.txt": 1, "data/b": 2}
    assert [request.path for request in server.requests] == ["/tree?recursive=1"]


def test_a_listing_that_was_cut_is_walked_folder_by_folder(server, listed):
    def folder(name):
        return {"path": name, "type": "tree", "url": f"{server.url}/{name}"}

    def give(path, tree, truncated=False):
        server.files[path] = json.dumps({"tree": tree, "truncated": truncated}).encode()

    # GitHub marks the recursive answer alone; what it holds is left aside in favour of the walk.
    give("/tree", [blob("README.md", 5), folder("docs"), folder("data")], truncated=True)
    give("/docs", [blob("x", 9)])
    give("/data", [folder("case_00000"), folder("case_00001")], truncated=True)
    give("/case_00000", [blob("instances/a", 3)])
    give("/case_00001", [blob("instances/b", 4)])

    assert listed(lambda path: path in ("data", "data/case_00001")) == {
        "README.md": 5,
        "data/case_00001/instances/b": 4,
    }
    assert not server.of("/docs?recursive=1") + server.of("/case_00000?recursive=1")


def test_an_answer_that_is_no_listing_is_asked_for_again(server, listed):
    server.files["/tree"] = json.dumps({"tree": [blob("a", 1)]}).encode()
    server.faults["/tree?recursive=1"] = ["html", "500"]

    assert listed() == {"a": 1}


def test_what_is_never_a_listing_is_given_up(server, listed):
    server.files["/tree"] = b'{"message": "moved"}'
    with pytest.raises(UnreachableError, match="no listing of a git tree"):
        listed()


def test_used_up_requests_are_named_with_a_way_out(server, listed):
    server.faults["/tree?recursive=1"] = ["403 X-RateLimit-Remaining=0"]
    with pytest.raises(RefusedError, match=r"403 Forbidden: the host's requests an hour are used up.*netrc"):
        listed()
