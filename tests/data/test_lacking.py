from kidney_lab.data.kits import Case
from kidney_lab.data.lacking import no_annotators, no_reference


def sentence(root, cases, file):
    return no_reference(root, cases, label_files=[file], dataset="mine")


def test_the_references_that_are_there_name_the_edition(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "segmentation.nii.gz").touch()

    assert sentence(tmp_path, ["a", "b"], "aggregated_MAJ_seg.nii.gz") == (
        f"data.root={tmp_path} holds 2 cases but no aggregated_MAJ_seg.nii.gz, the reference of data=mine; there is "
        "segmentation.nii.gz instead: did you mean data=kits19 or data=kits23?"
    )


def test_without_any_reference_the_way_to_them_is_named(tmp_path):
    assert sentence(tmp_path, ["a"], "segmentation.nii.gz") == (
        f"data.root={tmp_path} holds 1 case but no segmentation.nii.gz, the reference of data=mine; there is no other "
        "reference either: fetch them by task=download, or name the folder that holds them."
    )


def test_cases_without_annotators_are_counted_and_the_first_few_named(tmp_path):
    training = [Case(f"case_{k:05d}", None, None, instances=("drawn",) if k == 3 else ()) for k in range(8)]

    assert no_annotators(training, annotation="sampled", root=tmp_path) == (
        f"data.annotation=sampled learns from masks of single annotators, which 7 of the 8 training cases in "
        f"data.root={tmp_path} lack: case_00000, case_00001, case_00002, case_00004, case_00005, ...; set "
        "data.annotation=majority, or fetch them by task=download download.instances=true."
    )
