import pytest

from kidney_lab.files import replacing, write_text


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_appears_when_the_block_ends_and_nothing_else_stays(tmp_path):
    path = tmp_path / "new" / "table.csv"

    with replacing(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()

    assert path.read_text() == "whole"
    assert names(path.parent) == ["table.csv"]


def test_the_temporary_name_lies_beside_the_file_and_keeps_its_suffixes(tmp_path):
    with replacing(tmp_path / "scan.nii.gz") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffixes[-2:] == [".nii", ".gz"]
        assert temporary.name != "scan.nii.gz"
        temporary.touch()


def test_a_failure_leaves_the_old_file_as_it_was(tmp_path):
    path = tmp_path / "run.json"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()

    assert path.read_text() == "old"
    assert names(tmp_path) == ["run.json"]


def test_an_old_file_is_replaced(tmp_path):
    path = tmp_path / "run.json"
    path.write_text("old and longer")

    write_text(path, "né")

    assert path.read_bytes() == "né".encode()
    assert names(tmp_path) == ["run.json"]
