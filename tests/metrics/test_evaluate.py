import dataclasses

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from kidney_lab.errors import InputError
from kidney_lab.metrics import evaluate
from kidney_lab.metrics.case_scores import Scoring, case_scores
from kidney_lab.metrics.evaluate import read_labels, score_files
from kidney_lab.metrics.kits import kits_scores
from kidney_lab.metrics.pairs import ScoredFiles, match_pairs
from kidney_lab.metrics.parts import Parts
from kidney_lab.metrics.strata import case_strata
from kidney_lab.metrics.table import metrics_frame

OFFICIAL = ("kidney_and_mass", "mass", "tumor")


def evaluated(folder, *, regions=OFFICIAL, workers=1) -> pd.DataFrame:
    cases = [ScoredFiles(case, *pair) for case, pair in match_pairs(folder / "p", folder / "r").items()]
    results = score_files(cases, Scoring(regions=tuple(regions)), workers=workers)
    return metrics_frame({case: result.scores for case, result in results.items()})


@pytest.fixture
def files(label_maps, tmp_path):
    """Four cases whose predictions are moved by more and more rows."""
    return [
        ScoredFiles(
            f"case_{n:05d}",
            label_maps.write(tmp_path / "p" / f"case_{n:05d}.nii.gz", label_maps.mask(n)),
            label_maps.write(tmp_path / "r" / f"case_{n:05d}.nii.gz"),
        )
        for n in range(4)
    ]


class TestScores:
    def test_identical_masks_score_one(self, label_maps, tmp_path):
        label_maps.layout(tmp_path / "p", "case")
        label_maps.layout(tmp_path / "r", "kits")

        scores = evaluated(tmp_path)

        assert list(scores.columns) == ["case", "region", "metric", "value"]
        assert len(scores) == 2 * 3 * 2
        assert (scores["value"] == 1.0).all()

    def test_scores_are_those_of_the_arrays(self, label_maps, tmp_path):
        label_maps.write(tmp_path / "p" / "case_00001.nii.gz", label_maps.mask(1))
        label_maps.layout(tmp_path / "r", "kits", [1])

        scores = evaluated(tmp_path, regions=["tumor", "kidney"])

        expected = kits_scores(
            label_maps.mask(1), label_maps.mask(), label_maps.spacing_mm, regions=["tumor", "kidney"]
        )
        rows = scores.set_index(["region", "metric"])["value"].to_dict()
        assert rows == pytest.approx(expected)
        # The tumor is 2 x 3 x 3 voxels, moved by one row: 12 of 18 overlap.
        assert rows["tumor", "dice"] == pytest.approx(2 / 3)

    @pytest.mark.parametrize("orientation", [("R", "A", "S"), ("L", "S", "P")], ids="".join)
    def test_the_orientation_that_files_are_stored_in_does_not_matter(self, label_maps, tmp_path, orientation):
        for shift, folder in ((1, "p"), (0, "r")):
            label_maps.write(tmp_path / "ipl" / folder / "a.nii.gz", label_maps.mask(shift))
            turned = None if folder == "r" else orientation
            label_maps.write(tmp_path / "turned" / folder / "a.nii.gz", label_maps.mask(shift), orientation=turned)

        scores = [evaluated(tmp_path / kind) for kind in ("ipl", "turned")]

        np.testing.assert_allclose(scores[0]["value"], scores[1]["value"])

    @pytest.mark.parametrize("number", [np.float64, np.float32, np.uint16, np.int16])
    def test_whole_labels_of_any_number_type_are_labels(self, label_maps, tmp_path, number):
        path = label_maps.write(tmp_path / "case_00000.nii.gz", label_maps.mask().astype(number))

        volume = read_labels(path)

        assert volume.array.dtype == np.uint8
        np.testing.assert_array_equal(volume.array, label_maps.mask())

    def test_any_number_of_processes_gives_the_same_table_to_the_bit(self, files, tmp_path):
        tables = [evaluated(tmp_path, workers=workers) for workers in (1, 2)]

        pd.testing.assert_frame_equal(*tables, check_exact=True)
        assert tables[0]["case"].unique().tolist() == [case.id for case in files]

    def test_a_missing_prediction_scores_as_an_empty_one(self, label_maps, files):
        missing = dataclasses.replace(files[1], prediction=None)

        scores = score_files([missing], Scoring(metrics=("dice", "surface_dice", "hd95", "sensitivity")))[missing.id]

        reference = label_maps.mask()
        expected = case_scores(reference * 0, reference, label_maps.spacing_mm, Scoring(metrics=("dice", "hd95")))
        assert scores.scores["tumor", "dice"] == scores.scores["kidney_and_mass", "surface_dice"] == 0
        assert scores.scores["tumor", "sensitivity"] == expected["tumor", "dice"] == 0
        assert np.isnan(scores.scores["tumor", "hd95"])
        assert np.isnan(expected["tumor", "hd95"])

    def test_strata_are_those_of_the_reference_and_its_image(self, label_maps, files, tmp_path):
        image = np.random.default_rng(0).normal(0, 50, label_maps.mask().shape).astype(np.float32)
        path = label_maps.write(tmp_path / "i.nii.gz", image, orientation=("R", "A", "S"))

        without = score_files([files[1]], Scoring(), strata=True)[files[1].id].strata
        with_image = score_files([dataclasses.replace(files[1], image=path)], Scoring(), strata=True)[files[1].id]

        spacing = read_labels(files[1].reference).grid.spacing  # a header holds float32
        assert without == case_strata(label_maps.mask(), spacing)
        assert with_image.strata == case_strata(label_maps.mask(), spacing, image)
        assert with_image.strata["tumor_gradient_hu_per_mm"] > 0


class TestResuming:
    def scored(self, monkeypatch):
        """Names of the cases that are scored from now on, as they come."""
        names, original = [], evaluate._result_or_problems

        def spy(case, **settings):
            names.append(case.id)
            return original(case, **settings)

        monkeypatch.setattr(evaluate, "_result_or_problems", spy)
        return names

    def test_what_was_scored_before_a_kill_is_not_scored_again(self, files, tmp_path, monkeypatch):
        parts = Parts(tmp_path / "out" / "parts", Scoring(), strata=True)
        expected = score_files(files, Scoring(), strata=True)
        score_files(files[1:3], Scoring(), strata=True, parts=parts)
        names = self.scored(monkeypatch)

        results = score_files(files, Scoring(), strata=True, parts=parts)

        assert sorted(names) == ["case_00000", "case_00003"]
        assert results == parts.gather(files) == expected
        assert list(results) == [case.id for case in files]

    def test_a_kill_loses_only_what_was_in_work(self, files, tmp_path, monkeypatch):
        parts, original = Parts(tmp_path / "parts", Scoring(), strata=False), evaluate._result_or_problems

        def killed_at_the_third(case, **settings):
            if len(list(parts.folder.glob("*.json"))) == 2:
                raise KeyboardInterrupt
            return original(case, **settings)

        monkeypatch.setattr(evaluate, "_result_or_problems", killed_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            score_files(files, Scoring(), parts=parts)

        assert len(list(parts.folder.glob("*.json"))) == 2
        assert parts.gather(files) is None

    def test_a_refused_evaluation_keeps_the_sound_cases(self, label_maps, files, tmp_path):
        wrong = label_maps.mask()
        wrong[0, 0, 0] = 9
        label_maps.write(files[2].prediction, wrong)
        parts = Parts(tmp_path / "parts", Scoring(), strata=False)

        with pytest.raises(InputError, match=r"^These pairs cannot be scored:\n  - case_00002: .*holds the value 9"):
            score_files(files, Scoring(), parts=parts)

        assert [parts.read(files[n]) is not None for n in range(3)] == [True, True, False]


class TestRefusals:
    def problems(self, label_maps, tmp_path, predictions: dict[int, dict], *, workers=1) -> list[str]:
        """Sentences that scoring these predictions is refused with; the references are all the same mask."""
        for number, settings in predictions.items():
            label_maps.write(tmp_path / "p" / f"case_{number:05d}.nii.gz", **settings)
        label_maps.layout(tmp_path / "r", "kits", predictions)
        with pytest.raises(InputError) as refused:
            evaluated(tmp_path, workers=workers)
        return str(refused.value).splitlines()[1:]

    def test_shapes_and_affines_are_all_named_at_once(self, label_maps, tmp_path):
        lines = self.problems(
            label_maps,
            tmp_path,
            {0: {}, 1: {"labels": np.zeros((8, 12, 13), np.uint8)}, 2: {"moved_mm": 2.5}, 3: {"moved_mm": 0.5}},
        )

        assert len(lines) == 3
        assert "case_00001" in lines[0]
        assert "has shape (8, 12, 13), its reference (8, 12, 14)" in lines[0]
        assert "case_00002" in lines[1]
        assert "2.5 mm apart" in lines[1]
        assert "0.5 mm apart" in lines[2]

    def test_a_header_that_differs_by_rounding_is_no_difference(self, label_maps, tmp_path):
        label_maps.write(tmp_path / "p" / "case_00000.nii.gz", moved_mm=1e-4)
        label_maps.layout(tmp_path / "r", "kits", [0])

        assert (evaluated(tmp_path)["value"] == 1.0).all()

    @pytest.mark.parametrize("workers", [1, 2])
    def test_values_that_are_no_labels_are_all_named_at_once(self, label_maps, tmp_path, workers):
        four, half, undefined = (label_maps.mask().astype(np.float32) for _ in range(3))
        four[0, 0, 0], half[0, 0, 0], undefined[0, 0, 0] = 4, 0.5, np.nan

        lines = self.problems(
            label_maps,
            tmp_path,
            {0: {"labels": four}, 1: {"labels": half}, 2: {}, 3: {"labels": undefined}},
            workers=workers,
        )

        assert [f"case_0000{k}" in line for k, line in zip((0, 1, 3), lines, strict=True)] == [True] * 3
        assert "holds the value 4, but the labels are 0 background, 1 kidney, 2 tumor, 3 cyst" in lines[0]
        assert "holds the value 0.5, but" in lines[1]
        assert "holds the value nan, but" in lines[2]

    def test_a_file_that_cannot_be_read_is_named_among_the_others(self, label_maps, tmp_path):
        label_maps.write(tmp_path / "p" / "case_00001.nii.gz", moved_mm=5.0)
        (tmp_path / "p" / "case_00000.nii.gz").write_bytes(b"no image")
        label_maps.layout(tmp_path / "r", "kits", [0, 1])

        with pytest.raises(InputError) as refused:
            evaluated(tmp_path)

        lines = str(refused.value).splitlines()[1:]
        assert [f"case_0000{k}" in line for k, line in enumerate(lines)] == [True, True]

    def test_a_truncated_file_is_named_although_its_header_is_whole(self, label_maps, tmp_path):
        noise = np.random.default_rng(0).integers(0, 4, (40, 60, 60), np.uint8)
        path = label_maps.write(tmp_path / "p" / "case_00000.nii.gz", noise)
        path.write_bytes(path.read_bytes()[:-2000])
        label_maps.write(tmp_path / "r" / "case_00000.nii.gz", noise)

        with pytest.raises(InputError, match=r"case_00000: .*p/case_00000\.nii\.gz is truncated or damaged"):
            evaluated(tmp_path)

    def test_shapes_and_values_are_named_in_one_list_and_nothing_is_scored(self, label_maps, tmp_path, monkeypatch):
        monkeypatch.setattr(evaluate, "case_scores", lambda *_: pytest.fail("scored"))
        seven = label_maps.mask()
        seven[0, 0, 0] = 7

        lines = self.problems(label_maps, tmp_path, {0: {"moved_mm": 9.0}, 1: {"labels": seven}})

        assert "9 mm apart" in lines[0]
        assert "holds the value 7" in lines[1]

    def test_a_reference_on_the_image_s_wrong_side_is_named(self, label_maps, tmp_path, files):
        image = label_maps.write(tmp_path / "i.nii.gz", label_maps.mask(), moved_mm=3.0)

        with pytest.raises(InputError, match=r"i\.nii\.gz lies elsewhere than its reference, 3 mm apart"):
            score_files([dataclasses.replace(files[0], image=image)], Scoring(), strata=True)

    def test_the_header_s_scaling_is_applied(self, label_maps, tmp_path):
        for folder, slope in (("p", 1.0), ("r", 1.0), ("scaled", 2.0)):
            image = nib.load(label_maps.write(tmp_path / folder / "a.nii.gz"))
            scaled = nib.Nifti1Image(np.asanyarray(image.dataobj), image.affine)
            scaled.header.set_slope_inter(slope, 0)
            nib.save(scaled, tmp_path / folder / "a.nii.gz")

        assert (evaluated(tmp_path)["value"] == 1.0).all()
        with pytest.raises(InputError, match=r"holds the values? 4"):
            read_labels(tmp_path / "scaled" / "a.nii.gz")
