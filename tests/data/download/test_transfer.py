import pathlib

import pytest

from kidney_lab.data.download.source import RemoteFile
from kidney_lab.data.download.transfer import Outcome, fetch_all
from kidney_lab.errors import InputError


@pytest.fixture
def files(server, scan, mask):
    """Three files, the second of them large."""
    contents = [mask, scan, mask]
    server.files |= {f"/{n}": content for n, content in enumerate(contents)}
    return [RemoteFile(f"{server.url}/{n}", f"{n}/x.nii.gz", len(content)) for n, content in enumerate(contents)]


@pytest.mark.parametrize("workers", [1, 4])
def test_files_arrive_side_by_side(server, session, patience, files, tmp_path, workers):
    server.faults = {"/0": ["500"], "/1": ["drop", "stall"], "/2": ["html"]}

    assert fetch_all(session, files, tmp_path, workers=workers, patience=patience) == Outcome(fetched=3)
    assert [(tmp_path / file.path).stat().st_size for file in files] == [file.size for file in files]
    assert not list(tmp_path.rglob("*.part*"))


def test_what_cannot_be_had_is_told_and_the_rest_arrives(server, session, patience, files, tmp_path):
    server.faults = {"/0": ["404"], "/2": ["403"]}
    outcome = fetch_all(session, files, tmp_path, workers=2, patience=patience)

    assert outcome.fetched == 1
    assert not outcome.again  # both answers are final
    assert (tmp_path / "1" / "x.nii.gz").is_file()
    assert sorted(outcome.problems) == [
        f"0/x.nii.gz from {server.url}/0: 404 Not Found.",
        f"2/x.nii.gz from {server.url}/2: 403 Forbidden.",
    ]


@pytest.mark.parametrize("fault", [["500"] * 9, ["403 X-RateLimit-Remaining=0"]])
def test_what_another_run_may_bring_is_told_apart(server, session, patience, files, tmp_path, fault):
    server.faults = {"/0": ["404"], "/2": fault}

    assert fetch_all(session, files, tmp_path, workers=1, patience=patience).again


def test_ten_failures_in_a_row_end_it(server, session, patience, tmp_path):
    files = [RemoteFile(f"{server.url}/none/{n}", f"{n}.json") for n in range(30)]
    outcome = fetch_all(session, files, tmp_path, workers=1, patience=patience)

    assert outcome.fetched == 0
    assert len(outcome.problems) == 11
    assert outcome.problems[-1] == "20 more files not tried, since 10 in a row failed."
    assert not outcome.again  # it would begin with the same ten
    assert len(server.requests) <= 12


def test_a_success_between_failures_lets_it_go_on(server, session, patience, files, tmp_path):
    none = [RemoteFile(f"{server.url}/none/{n}", f"{n}.json") for n in range(18)]
    outcome = fetch_all(session, [*none[:9], files[0], *none[9:], files[2]], tmp_path, workers=1, patience=patience)

    assert outcome.fetched == 2
    assert len(outcome.problems) == 18


def test_a_full_disk_is_one_sentence_and_keeps_what_came(session, patience, files, tmp_path, monkeypatch):
    assert fetch_all(session, files[:1], tmp_path, workers=1, patience=patience) == Outcome(fetched=1)
    to_file = pathlib.Path.open

    def to_full_disk(path, mode="r", **options):
        return to_file(pathlib.Path("/dev/full") if path.name.endswith(".part") else path, mode, **options)

    monkeypatch.setattr(pathlib.Path, "open", to_full_disk)
    with pytest.raises(InputError) as raised:
        fetch_all(session, files[1:], tmp_path, workers=2, patience=patience)

    assert str(raised.value).startswith(f"The disk that holds data.root={tmp_path} is full (No space left on device):")
    assert (tmp_path / "0" / "x.nii.gz").is_file()


def test_a_place_that_is_taken_is_one_sentence(session, patience, files, tmp_path):
    (tmp_path / "1").write_text("a file where the case's folder should be")
    with pytest.raises(InputError, match=r"1/x.nii.gz cannot be written \(File exists\)"):
        fetch_all(session, files, tmp_path, workers=1, patience=patience)


def test_certificates_that_are_not_there_are_one_sentence(session, patience, tmp_path):
    session.verify = "no/such/bundle.pem"
    with pytest.raises(InputError, match=r"x.json cannot be fetched: .*bundle.pem"):
        fetch_all(session, [RemoteFile("https://127.0.0.1:9/x", "x.json")], tmp_path, workers=1, patience=patience)
