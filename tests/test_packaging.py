"""What a user installs: the wheel's content, its life away from the checkout, and the source's own rules."""

import ast
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CONF, EXPERIMENTS, PACKAGE = ROOT / "conf", ROOT / "experiments", ROOT / "kidney_lab"
CACHES = {"__pycache__", ".ipynb_checkpoints"}
LONGEST_FILE, LONGEST_FUNCTION = 500, 80

SOURCES = sorted(PACKAGE.rglob("*.py"))
GROUPS = sorted(folder for folder in CONF.iterdir() if folder.is_dir() and folder.name != "hydra")
OPTIONS = [f"{group.name}={option.stem}" for group in GROUPS for option in sorted(group.glob("*.yaml"))]
TABLES = [f"+experiments={table.parent.name}/{table.stem}" for table in sorted(EXPERIMENTS.glob("*/*.yaml"))]

# A path that exists on one person's machine only; this pattern does not match itself.
MACHINE_PATH = re.compile(r"(?<![\w.}~-])/(?:root|work|home|Users|mnt)/\w")


def travelling_files(folder: Path) -> set[str]:
    """Paths, relative to the root, of the files of a folder that belong into the wheel."""
    files = (file.relative_to(ROOT) for file in folder.rglob("*") if file.is_file())
    return {file.as_posix() for file in files if not CACHES & set(file.parts) and file.suffix != ".pyc"}


def run(*command: str | Path, folder: Path, path: Path | None = None) -> str:
    """Runs a command; returns what it printed, and fails with its errors."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built by the backend itself: no isolation, no network."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder, folder=ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the installed wheel; what it depends on comes from the running environment."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    run(*pip, "install", "--no-deps", "--target", folder, wheel, folder=folder)
    return folder


def test_the_wheel_carries_the_package_the_configuration_and_the_experiments(wheel: Path) -> None:
    content = set(zipfile.ZipFile(wheel).namelist())
    configuration = {f"kidney_lab/{name}" for name in travelling_files(CONF) | travelling_files(EXPERIMENTS)}
    assert "kidney_lab/conf/config.yaml" in content
    assert configuration | travelling_files(PACKAGE) <= content


def test_the_wheel_carries_nothing_else(wheel: Path) -> None:
    content = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in content}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"kidney_lab"}
    assert not [name for name in content if "tests/" in name or CACHES & set(name.split("/"))]


@pytest.mark.slow
def test_the_installed_wheel_is_what_gets_imported(installed: Path, tmp_path: Path) -> None:
    script = "import kidney_lab, kidney_lab.labels as l; print(kidney_lab.__file__, l.__file__, kidney_lab.__version__)"
    package, labels, version = run(sys.executable, "-c", script, folder=tmp_path, path=installed).split()
    assert Path(package).is_relative_to(installed)
    assert Path(labels).is_relative_to(installed)
    assert re.search(rf'^version = "{re.escape(version)}"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("override", [*OPTIONS, *TABLES])
def test_every_option_composes_from_the_installed_wheel(installed: Path, tmp_path: Path, override: str) -> None:
    command = [sys.executable, "-m", "kidney_lab", "--cfg", "job", override]
    assert "task:" in run(*command, folder=tmp_path, path=installed)


@pytest.mark.slow
def test_the_installed_wheel_trains_and_scores(installed: Path, tmp_path: Path) -> None:
    run_folder = tmp_path / "run"
    command = [sys.executable, "-m", "kidney_lab", "trainer=smoke", f"hydra.run.dir={run_folder}"]
    run(*command, folder=tmp_path, path=installed)
    assert (run_folder / "metrics.csv").read_text().startswith("case,region,metric,value\n")


def public_definitions(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Functions and classes that a user can reach by name: of the module, and of its public classes."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in tree.body:
        if isinstance(node, kinds) and not node.name.startswith("_"):
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                members = (member for member in node.body if isinstance(member, kinds))
                yield from ((f"{node.name}.{m.name}", m) for m in members if not m.name.startswith("_"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.relative_to(ROOT).as_posix())
def test_a_source_file_is_short_and_documented(source: Path) -> None:
    text = source.read_text(encoding="utf-8")
    tree = ast.parse(text)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert len(text.splitlines()) <= LONGEST_FILE
    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}
    assert ast.get_docstring(tree) or not tree.body
    assert [name for name, node in public_definitions(tree) if not ast.get_docstring(node)] == []


def test_no_file_of_the_repository_names_a_path_of_somebodys_machine() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: the repository's files are not known")
    listing = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", folder=ROOT)
    files = (ROOT / name for name in listing.split("\0") if name and (ROOT / name).is_file())
    contents = {file.relative_to(ROOT).as_posix(): file.read_bytes().decode(errors="ignore") for file in files}
    assert {name: match[0] for name, text in contents.items() if (match := MACHINE_PATH.search(text))} == {}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("see /ro" + "ot/data", True),
        ("'/ho" + "me/me/kits23'", True),
        ("https://example.org/wo" + "rk/page", False),
        ("data.root=/data/kits23", False),
        ("~/wo" + "rk/kits", False),
    ],
)
def test_paths_of_machines_are_told_from_other_paths(text: str, named: bool) -> None:
    assert bool(MACHINE_PATH.search(text)) is named
