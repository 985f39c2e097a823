def test_a_store_is_made_once(command, tmp_path):
    first = command("task=prepare", "preset=smoke", "trainer=smoke", cwd=tmp_path)
    stores = sorted((tmp_path / "data" / "stores").glob("*/case_*/case.json"))
    made = [path.stat().st_mtime_ns for path in stores]
    second = command("task=prepare", "preset=smoke", "trainer=smoke", cwd=tmp_path)

    assert "segmentation: 4 cases in data/stores/phantom-" in first.stdout
    assert second.stdout == first.stdout
    assert len(stores) == 4
    assert [path.stat().st_mtime_ns for path in stores] == made
