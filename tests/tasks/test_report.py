def test_runs_of_a_glob_are_reported_and_others_skipped(smoke_run, command, tmp_path):
    (smoke_run.parent / "no run").mkdir(exist_ok=True)
    command("task=report", f"runs={smoke_run.parent}/*", f"output={tmp_path / 'out'}", cwd=tmp_path)

    assert (tmp_path / "out" / "report.html").is_file()
    assert (tmp_path / "out" / "scores.md").is_file()


def test_a_single_run_with_brackets_in_its_name_is_itself(smoke_run, command, tmp_path):
    command("task=report", f"runs={smoke_run}", f"output={tmp_path / 'out'}", cwd=tmp_path)

    assert "unet3d-phantom" in (tmp_path / "out" / "report.html").read_text()
