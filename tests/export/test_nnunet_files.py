import nibabel as nib
import numpy as np
import pytest

from kidney_lab.data.annotations import find_instances
from kidney_lab.data.kits import Case
from kidney_lab.data.nifti import read_volume, write_volume
from kidney_lab.export import nnunet_files
from kidney_lab.export.nnunet_files import CaseFiles, place, write_case, write_cases
from kidney_lab.files import replacing
from kidney_lab.geometry import Volume, grid_from_spacing

GRID = grid_from_spacing((4, 6, 5), (3.0, 1.0, 1.0))


def write(path, value=1):
    write_volume(path, Volume(np.full(GRID.shape, value, np.uint8), GRID))
    return path


class TestPlace:
    def test_a_file_that_needs_no_change_is_linked(self, tmp_path):
        source = write(tmp_path / "a.nii.gz")
        place(source, tmp_path / "raw" / "b.nii.gz", copy=False)

        assert (tmp_path / "raw" / "b.nii.gz").samefile(source)
        assert [path.name for path in (tmp_path / "raw").iterdir()] == ["b.nii.gz"]

    def test_what_a_link_points_to_is_linked(self, tmp_path):
        source = write(tmp_path / "a.nii.gz")
        (tmp_path / "link.nii.gz").symlink_to("a.nii.gz")
        place(tmp_path / "link.nii.gz", tmp_path / "raw" / "b.nii.gz", copy=False)

        assert (tmp_path / "raw" / "b.nii.gz").samefile(source)

    def test_a_copy_is_asked_for_or_made_where_nothing_can_be_linked(self, tmp_path, monkeypatch):
        source = write(tmp_path / "a.nii.gz")
        place(source, tmp_path / "asked.nii.gz", copy=True)
        for name in ("link", "symlink"):
            monkeypatch.setattr(nnunet_files.os, name, refuse)
        place(source, tmp_path / "fallen.nii.gz", copy=False)

        for name in ("asked.nii.gz", "fallen.nii.gz"):
            assert (tmp_path / name).read_bytes() == source.read_bytes()
            assert not (tmp_path / name).samefile(source)

    def test_across_disks_a_symbolic_link_is_made(self, tmp_path, monkeypatch):
        monkeypatch.setattr(nnunet_files.os, "link", refuse)
        place(write(tmp_path / "a.nii.gz"), tmp_path / "b.nii.gz", copy=False)

        assert (tmp_path / "b.nii.gz").readlink() == tmp_path / "a.nii.gz"

    @pytest.mark.parametrize("copy", [False, True])
    def test_what_is_there_is_left_alone_until_its_source_changes(self, tmp_path, copy):
        source, target = write(tmp_path / "a.nii.gz"), tmp_path / "b.nii.gz"
        place(source, target, copy=copy)
        before = target.stat().st_ino
        place(source, target, copy=copy)
        assert target.stat().st_ino == before

        write(source, 2)
        place(source, target, copy=copy)
        assert target.read_bytes() == source.read_bytes()

    def test_a_link_becomes_a_copy_on_request(self, tmp_path):
        source, target = write(tmp_path / "a.nii.gz"), tmp_path / "b.nii.gz"
        place(source, target, copy=False)
        place(source, target, copy=True)

        assert not target.samefile(source)

    def test_a_fourth_axis_of_length_one_is_dropped_once(self, tmp_path):
        source, target = tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"
        array = np.arange(120, dtype=np.int16).reshape(4, 6, 5, 1)
        nib.save(nib.Nifti1Image(array, GRID.affine), source)
        place(source, target, copy=False)
        before = target.stat().st_ino
        place(source, target, copy=False)

        assert nib.load(target).shape == (4, 6, 5)  # nnU-Net: only 3d images are supported
        np.testing.assert_array_equal(nib.load(target).get_fdata(), array[..., 0])
        assert target.stat().st_ino == before


def refuse(*_):
    raise OSError("no links here")


class TestCases:
    def test_an_image_that_is_not_there_is_painted_on_the_grid_of_the_file(self, tmp_path):
        label = np.zeros((12, 24, 20), np.uint8)
        label[4:8, 8:16, 6:12] = 1
        flipped = grid_from_spacing(label.shape, (3.0, 3.0, 3.0)).affine @ np.diag([-1, 1, 1, 1])
        nib.save(nib.Nifti1Image(label, flipped), tmp_path / "segmentation.nii.gz")
        case = Case("case_00003", None, tmp_path / "segmentation.nii.gz", synthesize=True)
        raw, painted = tmp_path / "raw", tmp_path / "painted"
        write_case(CaseFiles(case, "Ts"), folder=raw, copy=False, painted=painted)

        image = nib.load(raw / "imagesTs" / "case_00003_0000.nii.gz")
        np.testing.assert_array_equal(image.affine, flipped)
        # memory order is the file's with its first axis turned
        np.testing.assert_array_equal(np.asarray(image.dataobj)[::-1], case.read_image().array)
        assert (raw / "labelsTs" / "case_00003.nii.gz").samefile(tmp_path / "segmentation.nii.gz")

        before = (raw / "imagesTs" / "case_00003_0000.nii.gz").stat().st_ino
        write_case(CaseFiles(case, "Ts"), folder=raw, copy=False, painted=painted)
        assert (raw / "imagesTs" / "case_00003_0000.nii.gz").stat().st_ino == before

    def test_the_first_annotator_teaches_and_the_reference_tests(self, tmp_path):
        folder = tmp_path / "case_00001"
        image, label = write(folder / "imaging.nii.gz"), write(folder / "segmentation.nii.gz", 2)
        write(folder / "instances" / "kidney_instance-1_annotation-1.nii.gz")
        case = Case("case_00001", image, label, instances=find_instances(folder))
        for part, first in (("Tr", True), ("Ts", False)):
            item = CaseFiles(case, part, first_annotator=first)
            write_cases([item], tmp_path / "raw", copy=False, painted=tmp_path, workers=1)

        taught = read_volume(tmp_path / "raw" / "labelsTr" / "case_00001.nii.gz")
        assert np.unique(taught.array) == [1]
        assert taught.grid.same_as(GRID)
        assert (tmp_path / "raw" / "labelsTs" / "case_00001.nii.gz").samefile(label)

    def test_what_a_killed_export_left_is_no_case_of_nnunet(self, tmp_path):
        case = Case("case_00001", write(tmp_path / "imaging.nii.gz"), write(tmp_path / "segmentation.nii.gz"))
        with replacing(tmp_path / "raw" / "imagesTr" / "case_00001_0000.nii.gz") as temporary:
            temporary.write_bytes(b"whole")
        temporary.write_bytes(b"half")  # as a kill leaves it, which cleans nothing up
        write_cases([CaseFiles(case, "Tr")], tmp_path / "raw", copy=False, painted=tmp_path, workers=1)

        assert [path.name for path in (tmp_path / "raw" / "imagesTr").iterdir()] == ["case_00001_0000.nii.gz"]
