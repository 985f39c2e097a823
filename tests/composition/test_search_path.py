import pytest

from kidney_lab.composition import search_path
from kidney_lab.composition.search_path import ExperimentsSource, config_folder, config_groups


def test_the_checkout_s_config_is_found():
    assert (config_folder() / "config.yaml").is_file()


def test_the_config_inside_the_package_comes_first(tmp_path, monkeypatch):
    package = tmp_path / "kidney_lab"
    for folder in (package / "conf", tmp_path / "conf"):
        folder.mkdir(parents=True)
        (folder / "config.yaml").touch()
    monkeypatch.setattr(search_path, "_PACKAGE", package)

    assert config_folder() == package / "conf"


def test_a_broken_installation_names_both_places(tmp_path, monkeypatch):
    monkeypatch.setattr(search_path, "_PACKAGE", tmp_path / "kidney_lab")

    with pytest.raises(FileNotFoundError, match=r"no config\.yaml in .* or .*"):
        config_folder()


def test_experiments_are_seen_and_nothing_beside_them(tmp_path):
    (tmp_path / "experiments" / "paper").mkdir(parents=True)
    (tmp_path / "experiments" / "paper" / "table1.yaml").write_text("seed: 3\n")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.yaml").touch()
    source = ExperimentsSource(provider="test", path=f"experiments://{tmp_path}")

    assert source.list("", None) == ["experiments"]
    assert source.is_config("experiments/paper/table1")
    assert source.load_config("experiments/paper/table1").config.seed == 3
    assert not source.is_group("other")
    assert not source.is_config("other/config")


def test_help_lists_every_group_with_its_options():
    listed = {line.split()[0]: line.split(None, 1)[1] for line in config_groups().splitlines()}

    groups = [folder for folder in config_folder().iterdir() if folder.is_dir() and folder.name != "hydra"]
    assert listed.keys() == {group.name for group in groups}
    assert listed["preset"] == "full, small, smoke"
