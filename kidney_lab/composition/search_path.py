"""Where the configuration lives: beside the package in a checkout, inside it in a wheel."""

from pathlib import Path

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

_PACKAGE = Path(__file__).resolve().parent.parent


def config_folder() -> Path:
    """Folder of `config.yaml` and the config groups.

    Returns:
        `<package>/conf` (a wheel) or `<package>/../conf` (a checkout): the first that holds config.yaml. The package
        comes first, since a stray `conf` beside an installed package could belong to anybody.

    Raises:
        FileNotFoundError: neither holds one.
    """
    candidates = [_PACKAGE / "conf", _PACKAGE.parent / "conf"]
    for folder in candidates:
        if (folder / "config.yaml").is_file():
            return folder
    raise FileNotFoundError(f"no config.yaml in {candidates[0]} or {candidates[1]}: reinstall kidney_lab")


class ExperimentsSource(FileConfigSource):
    """The folder that holds `experiments/`, seen as if nothing else were in it.

    In a checkout that folder is the repository: read as it is, its environments, data and runs would all be searched
    for config groups, which takes seconds, and be listed as such by `--help` and tab completion.
    """

    @staticmethod
    def scheme() -> str:
        """Name of this kind of source in a search path."""
        return "experiments"

    def is_group(self, config_path: str) -> bool:
        """Whether a path is the root or a folder under `experiments/`."""
        return _visible(config_path) and super().is_group(config_path)

    def is_config(self, config_path: str) -> bool:
        """Whether a path is a file under `experiments/`."""
        return _visible(config_path) and super().is_config(config_path)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """What is in a folder."""
        if config_path == "":
            return ["experiments"] if super().is_group("experiments") and results_filter != ObjectType.CONFIG else []
        return super().list(config_path, results_filter)


def _visible(config_path: str) -> bool:
    return config_path == "" or config_path.split("/")[0] == "experiments"


class ExperimentsPath(SearchPathPlugin):
    """Lets `+experiments=<paper>/<table>` be found from any working directory."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Appends the folder that holds `experiments/`: it stands beside `conf/` in a checkout and in a wheel."""
        search_path.append(provider="kidney_lab", path=f"experiments://{config_folder().parent}")


def register_experiments() -> None:
    """Adds the experiments to Hydra's search path, once per process."""
    SourcesRegistry.instance().register(ExperimentsSource)
    plugins = Plugins.instance()
    if ExperimentsPath not in plugins.discover(SearchPathPlugin):
        plugins.register(ExperimentsPath)


def config_groups() -> str:
    """The config groups and their options, a line each, for `--help`.

    Folders named `common` and `sizes` hold parts of options and are left out.
    """
    lines = []
    for group in sorted(folder for folder in config_folder().iterdir() if folder.is_dir() and folder.name != "hydra"):
        options = ", ".join(sorted(path.stem for path in group.glob("*.yaml")))
        lines.append(f"  {group.name:<10} {options}")
    return "\n".join(lines)
