import shutil

import pytest

from kidney_lab.data.download.part import Identity, Part
from kidney_lab.data.download.plan import bytes_here, bytes_of, check_space, missing, with_sizes
from kidney_lab.data.download.source import RemoteFile
from kidney_lab.errors import InputError

FILES = [RemoteFile("u/0", "kits.json", 7), RemoteFile("u/1", "case_00000/imaging.nii.gz", 100), RemoteFile("u/2", "x")]


@pytest.fixture
def root(tmp_path):
    (tmp_path / "kits.json").write_text("[1]")
    part = Part(tmp_path / "case_00000" / "imaging.nii.gz")
    part.path.parent.mkdir()
    part.path.write_bytes(bytes(40))
    part.note(Identity(None, 100))
    return tmp_path


def test_files_under_their_names_are_not_missing_and_begun_ones_are(root):
    assert missing(FILES, root) == FILES[1:]


def test_broken_files_are_missing_where_they_are_to_be_verified(root, mask):
    (root / "case_00000" / "imaging.nii.gz").write_bytes(mask[:-9])
    assert missing(FILES, root) == FILES[2:]
    assert missing(FILES, root, verify=True, workers=2) == FILES[1:]

    (root / "case_00000" / "imaging.nii.gz").write_bytes(mask)
    assert missing(FILES, root, verify=True, workers=2) == FILES[2:]


def test_bytes_are_counted_where_they_are_known(root):
    assert bytes_of(FILES) == 107
    assert bytes_here(FILES, root) == 40


def test_what_is_here_needs_no_space_again(root, monkeypatch):
    free = shutil.disk_usage(root)._replace(free=67)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    check_space(FILES, root)  # 107 - 40


def test_too_little_space_is_told_with_what_is_needed(root, monkeypatch):
    free = shutil.disk_usage(root)._replace(free=2_000_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    with pytest.raises(InputError) as raised:
        check_space([RemoteFile("u", "x", 5_000_000_000)], root)

    sentence = str(raised.value)
    assert sentence.startswith(f"data.root={root} needs 5.0 GB for 1 file, but its disk has 2.0 GB free: free 3.0 GB,")


def test_sizes_are_asked_for_where_nobody_has_said_them(server, session, patience, scan, mask):
    server.files |= {"/a": scan, "/b": mask}
    asked = [
        RemoteFile(f"{server.url}/a", "a"),
        RemoteFile(f"{server.url}/b", "b", 5),
        RemoteFile(f"{server.url}/none", "c"),
    ]
    sizes = [file.size for file in with_sizes(session, asked, workers=2, patience=patience)]

    assert sizes == [len(scan), 5, None]
    assert server.of("/b", "HEAD") == []


def test_a_server_that_does_not_answer_ends_it_before_it_begins(session, patience):
    files = [RemoteFile(f"http://127.0.0.1:9/{n}", str(n)) for n in range(50)]
    with pytest.raises(InputError, match=r"127.0.0.1:9 gives no answer about .* check the network and the proxy"):
        with_sizes(session, files, workers=2, patience=patience)
