from kidney_lab.tasks.report import expand


def test_brackets_in_what_exists_are_themselves(tmp_path, monkeypatch):
    for name in ("a [1]/x", "a [1]/y", "b"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    assert [str(path) for path in expand("a [1]/*")] == ["a [1]/x", "a [1]/y"]
    assert [str(path) for path in expand("a [1]/x")] == ["a [1]/x"]
    assert [str(path) for path in expand(f"{tmp_path}/[ab]")] == [f"{tmp_path}/b"]
    assert expand("nothing*") == []


def test_runs_of_a_glob_are_reported_and_others_skipped(smoke_run, command, tmp_path):
    (smoke_run.parent / "no run").mkdir(exist_ok=True)
    command("task=report", f"runs={smoke_run.parent}/*", f"output={tmp_path / 'out'}", cwd=tmp_path)

    assert (tmp_path / "out" / "report.html").is_file()
    assert (tmp_path / "out" / "scores.md").is_file()


def test_a_single_run_with_brackets_in_its_name_is_itself(smoke_run, command, tmp_path):
    command("task=report", f"runs={smoke_run}", f"output={tmp_path / 'out'}", cwd=tmp_path)

    assert "unet3d-phantom" in (tmp_path / "out" / "report.html").read_text()
