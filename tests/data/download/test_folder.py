import os

import pytest

from kidney_lab.data.download.folder import writable_folder
from kidney_lab.errors import InputError


def test_the_folder_is_made_and_given_to_one_download_at_a_time(tmp_path):
    root = tmp_path / "a" / "b"
    with (
        writable_folder(root),
        pytest.raises(InputError, match=r"Another download is writing into data.root=.*: wait"),
        writable_folder(root),
    ):
        pass
    with writable_folder(root):
        assert list(root.iterdir()) == []


def test_a_file_in_its_place_is_refused(tmp_path):
    (tmp_path / "a").write_text("")
    with (
        pytest.raises(InputError, match=r"data.root=.*/a cannot be made \(File exists\): name another"),
        writable_folder(tmp_path / "a"),
    ):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot be written: change its permissions"), writable_folder(tmp_path):
        pass
