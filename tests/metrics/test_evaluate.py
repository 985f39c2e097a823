import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from kidney_lab.errors import InputError
from kidney_lab.geometry import Volume, grid_from_spacing, reorient
from kidney_lab.metrics.evaluate import case_name, evaluate_pairs, find_label_maps, match_pairs
from kidney_lab.metrics.kits import kits_scores

SHAPE, SPACING = (8, 12, 14), (3.0, 0.8, 0.8)
OFFICIAL = ("kidney_and_mass", "mass", "tumor")


def mask(shift: int = 0) -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:6, 3 + shift : 9 + shift, 3:10] = 1
    labels[3:5, 4 + shift : 7 + shift, 4:7] = 2
    labels[5, 7 + shift, 8] = 3
    return labels


def write(path, labels=None, *, spacing=SPACING, orientation=None, moved_mm=0.0):
    labels = mask() if labels is None else labels
    volume = Volume(labels, grid_from_spacing(labels.shape, spacing))
    if orientation is not None:
        volume = reorient(volume, orientation)
    affine = volume.grid.affine.copy()
    affine[0, 3] += moved_mm
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(volume.array, affine), path)
    return path


def layout(root, kind: str, numbers=(0, 12)):
    """Writes the same masks in one of the layouts that users have."""
    for number in numbers:
        name = {
            "kits": f"case_{number:05d}/segmentation.nii.gz",
            "kits21": f"case_{number:05d}/aggregated_MAJ_seg.nii.gz",
            "case": f"case_{number:05d}.nii.gz",
            "nnunet": f"KiTS_{number:05d}.nii.gz",
            "plain": f"case_{number:05d}.nii",
        }[kind]
        write(root / name)
    return root


def evaluate(predictions, references, *, regions=OFFICIAL, workers=1) -> pd.DataFrame:
    return evaluate_pairs(match_pairs(predictions, references), regions=regions, workers=workers)


class TestMatching:
    @pytest.mark.parametrize("predictions", ["kits", "case", "nnunet", "plain"])
    @pytest.mark.parametrize("references", ["kits", "kits21", "case", "nnunet"])
    def test_every_layout_matches_every_other_by_case_number(self, tmp_path, predictions, references):
        pairs = match_pairs(layout(tmp_path / "p", predictions), layout(tmp_path / "r", references))

        assert list(pairs) == ["case_00000", "case_00012"]
        for number, (prediction, reference) in zip(("00000", "00012"), pairs.values(), strict=True):
            assert number in str(prediction.relative_to(tmp_path / "p"))
            assert number in str(reference.relative_to(tmp_path / "r"))

    def test_other_names_are_matched_by_their_stem(self, tmp_path):
        for folder in ("p", "r"):
            write(tmp_path / folder / "liver.v2.nii.gz")
            write(tmp_path / folder / "patient-7.nii.gz")

        assert list(match_pairs(tmp_path / "p", tmp_path / "r")) == ["liver.v2", "patient-7"]

    @pytest.mark.parametrize(
        ("name", "case"),
        [
            ("case_00012", "case_00012"),
            ("KiTS_00012.nii.gz", "case_00012"),
            ("00012.nii", "case_00012"),
            ("pred_case_00012_seg.nii.gz", "case_00012"),
            ("liver.nii.gz", "liver"),
            ("patient_7.nii.gz", "patient_7"),
            ("scan_20230115.nii.gz", "scan_20230115"),  # a date has eight digits, a KiTS case five
        ],
    )
    def test_what_a_name_stands_for(self, name, case):
        assert case_name(name) == case

    def test_kits21_s_other_annotations_do_not_count(self, tmp_path):
        layout(tmp_path, "kits21", [3])
        write(tmp_path / "case_00003" / "segmentations" / "tumor_instance-1_annotation-1.nii.gz")

        assert list(find_label_maps(tmp_path, "references")) == ["case_00003"]

    def test_hidden_files_are_passed_over(self, tmp_path):
        layout(tmp_path, "case", [3])
        write(tmp_path / "._case_00003.nii.gz")

        assert find_label_maps(tmp_path, "predictions") == {"case_00003": tmp_path / "case_00003.nii.gz"}

    def test_all_missing_and_all_superfluous_cases_are_named_at_once(self, tmp_path):
        layout(tmp_path / "p", "case", [0, 1, 2])
        layout(tmp_path / "r", "kits", [2, 3, 4])

        with pytest.raises(InputError) as refused:
            match_pairs(tmp_path / "p", tmp_path / "r")

        lines = str(refused.value).splitlines()[1:]
        assert len(lines) == 4
        assert all(f"case_0000{k}" in line for k, line in zip((0, 1, 3, 4), lines, strict=True))
        assert all("has no reference" in line for line in lines[:2])
        assert all("has no prediction" in line for line in lines[2:])

    @pytest.mark.parametrize("names", [("case_00003.nii.gz", "KiTS_00003.nii.gz"), ("a.nii", "a.nii.gz")])
    def test_two_files_of_one_case_are_refused(self, tmp_path, names):
        for name in names:
            write(tmp_path / name)

        with pytest.raises(InputError, match="twice") as refused:
            find_label_maps(tmp_path, "predictions")

        assert all(name in str(refused.value) for name in names)

    def test_two_folders_of_one_case_are_refused(self, tmp_path):
        layout(tmp_path, "kits", [3])
        write(tmp_path / "case_00003_again" / "segmentation.nii.gz")

        with pytest.raises(InputError, match=r"references=.* holds case_00003 twice: .*case_00003/.*case_00003_again/"):
            find_label_maps(tmp_path, "references")

    def test_a_folder_that_is_not_there_or_empty_is_refused_by_its_name_on_the_command_line(self, tmp_path):
        with pytest.raises(InputError, match=r"predictions=.*nowhere is no folder"):
            match_pairs(tmp_path / "nowhere", tmp_path)
        with pytest.raises(InputError, match=r"references=.* holds no label maps"):
            match_pairs(layout(tmp_path / "p", "case"), tmp_path)


class TestScores:
    def test_identical_masks_score_one(self, tmp_path):
        scores = evaluate(layout(tmp_path / "p", "case"), layout(tmp_path / "r", "kits"))

        assert list(scores.columns) == ["case", "region", "metric", "value"]
        assert len(scores) == 2 * 3 * 2
        assert (scores["value"] == 1.0).all()

    def test_scores_are_those_of_the_arrays(self, tmp_path):
        write(tmp_path / "p" / "case_00001.nii.gz", mask(1))
        layout(tmp_path / "r", "kits", [1])

        scores = evaluate(tmp_path / "p", tmp_path / "r", regions=["tumor", "kidney"])

        expected = kits_scores(mask(1), mask(), SPACING, regions=["tumor", "kidney"])
        rows = scores.set_index(["region", "metric"])["value"].to_dict()
        assert rows == pytest.approx(expected)
        # The tumor is 2 x 3 x 3 voxels, moved by one row: 12 of 18 overlap.
        assert rows["tumor", "dice"] == pytest.approx(2 / 3)

    @pytest.mark.parametrize("orientation", [("R", "A", "S"), ("L", "S", "P")], ids="".join)
    def test_the_orientation_that_files_are_stored_in_does_not_matter(self, tmp_path, orientation):
        for shift, folder in ((1, "p"), (0, "r")):
            write(tmp_path / "ipl" / folder / "a.nii.gz", mask(shift))
            write(tmp_path / "turned" / folder / "a.nii.gz", mask(shift), orientation=orientation)

        scores = [evaluate(tmp_path / kind / "p", tmp_path / kind / "r") for kind in ("ipl", "turned")]

        np.testing.assert_allclose(scores[0]["value"], scores[1]["value"])

    def test_whole_labels_in_floating_point_are_labels(self, tmp_path):
        write(tmp_path / "p" / "case_00000.nii.gz", mask().astype(np.float64))
        layout(tmp_path / "r", "kits", [0])

        assert (evaluate(tmp_path / "p", tmp_path / "r")["value"] == 1.0).all()

    def test_any_number_of_processes_gives_the_same_table(self, tmp_path):
        for number in range(3):
            write(tmp_path / "p" / f"case_{number:05d}.nii.gz", mask(number))
        layout(tmp_path / "r", "kits", range(3))

        tables = [evaluate(tmp_path / "p", tmp_path / "r", workers=workers) for workers in (1, 2)]

        pd.testing.assert_frame_equal(*tables, check_exact=True)
        assert tables[0]["case"].unique().tolist() == ["case_00000", "case_00001", "case_00002"]


class TestRefusals:
    def problems(self, tmp_path, predictions: dict[int, dict], *, workers=1) -> list[str]:
        """Sentences that scoring these predictions is refused with; the references are all the same mask."""
        for number, settings in predictions.items():
            write(tmp_path / "p" / f"case_{number:05d}.nii.gz", **settings)
        layout(tmp_path / "r", "kits", predictions)
        with pytest.raises(InputError) as refused:
            evaluate(tmp_path / "p", tmp_path / "r", workers=workers)
        return str(refused.value).splitlines()[1:]

    def test_shapes_and_affines_are_all_named_at_once(self, tmp_path):
        lines = self.problems(
            tmp_path,
            {0: {}, 1: {"labels": np.zeros((8, 12, 13), np.uint8)}, 2: {"moved_mm": 2.5}, 3: {"moved_mm": 0.5}},
        )

        assert len(lines) == 3
        assert "case_00001" in lines[0]
        assert "has shape (8, 12, 13), its reference (8, 12, 14)" in lines[0]
        assert "case_00002" in lines[1]
        assert "2.5 mm apart" in lines[1]
        assert "0.5 mm apart" in lines[2]

    def test_a_header_that_differs_by_rounding_is_no_difference(self, tmp_path):
        write(tmp_path / "p" / "case_00000.nii.gz", moved_mm=1e-4)
        layout(tmp_path / "r", "kits", [0])

        assert (evaluate(tmp_path / "p", tmp_path / "r")["value"] == 1.0).all()

    @pytest.mark.parametrize("workers", [1, 2])
    def test_values_that_are_no_labels_are_all_named_at_once(self, tmp_path, workers):
        four, half, undefined = mask().astype(np.float32), mask().astype(np.float32), mask().astype(np.float32)
        four[0, 0, 0], half[0, 0, 0], undefined[0, 0, 0] = 4, 0.5, np.nan

        lines = self.problems(
            tmp_path, {0: {"labels": four}, 1: {"labels": half}, 2: {}, 3: {"labels": undefined}}, workers=workers
        )

        assert [f"case_0000{k}" in line for k, line in zip((0, 1, 3), lines, strict=True)] == [True] * 3
        assert "holds the values [4.0]: labels are [0, 1, 2, 3]" in lines[0]
        assert "[0.5]" in lines[1]
        assert "[nan]" in lines[2]

    def test_a_file_that_cannot_be_read_is_named_among_the_others(self, tmp_path):
        write(tmp_path / "p" / "case_00001.nii.gz", moved_mm=5.0)
        (tmp_path / "p" / "case_00000.nii.gz").write_bytes(b"no image")
        layout(tmp_path / "r", "kits", [0, 1])

        with pytest.raises(InputError) as refused:
            evaluate(tmp_path / "p", tmp_path / "r")

        assert [f"case_0000{k}" in line for k, line in enumerate(str(refused.value).splitlines()[1:])] == [True, True]

    def test_shapes_and_values_are_named_in_one_list(self, tmp_path):
        seven = mask()
        seven[0, 0, 0] = 7

        lines = self.problems(tmp_path, {0: {"moved_mm": 9.0}, 1: {"labels": seven}})

        assert "9 mm apart" in lines[0]
        assert "holds the values [7.0]" in lines[1]
