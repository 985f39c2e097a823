"""Runs and bundles as they lie on disk, and the finished runs that a run takes as members of its ensemble.

`model.member_runs` of a run's configuration holds the paths of its members, which may be ensembles themselves; in a
bundle they lie in the bundle, and the paths begin there. Their names are their numbers, from 1 on.

What a folder's configuration would call is checked when it is read (`kidney_lab.composition.allowlist`): whatever is
made of `RunFiles.config` is safe.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from kidney_lab.composition.allowlist import read_trust, refuse_untrusted
from kidney_lab.composition.messages import to_plain
from kidney_lab.errors import InputError
from kidney_lab.inference.combine import Combination, LastStage
from kidney_lab.inference.precision import PRECISIONS
from kidney_lab.methods.inference_settings import InferenceSettings
from kidney_lab.methods.output import Output
from kidney_lab.methods.pipeline import enabled_stages

KEY = "model.member_runs"
FILES = ("config.yaml", "run.json")


@dataclass(frozen=True)
class RunFiles:
    """What a run folder says of itself.

    Args:
        path: of the folder.
        config: the composed configuration.
        record: what `run.json` holds.
        within: the runs whose members led to it, outermost first.
        trust: names that its members' configurations may call beside those that all may.
    """

    path: Path
    config: DictConfig
    record: dict[str, Any]
    within: tuple[Path, ...] = ()
    trust: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: Path, within: tuple[Path, ...] = (), trust: Sequence[str] = ()) -> "RunFiles":
        """Reads a folder that holds `FILES`.

        Args:
            path: of the folder.
            within: the runs whose members led to it.
            trust: names that its configuration may call beside those that all may.

        Raises:
            InputError: a file cannot be read, or the configuration calls what it may not.
        """
        config, record = _read_config(path / "config.yaml"), _read_record(path / "run.json")
        refuse_untrusted(config, path / "config.yaml", trust)
        if not OmegaConf.is_dict(OmegaConf.select(config, "model.stages")):
            raise InputError(f"{path / 'config.yaml'} has no model.stages: name the folder of a training of a method.")
        return cls(path, config, record, within, tuple(trust))

    @property
    def precision(self) -> str:
        """Lightning's name of the precision that its stages were trained in.

        Raises:
            InputError: `run.json` does not say it, or says another name.
        """
        precision = self.record.get("precision")
        if precision is None:
            raise InputError(f"{self.path / 'run.json'} says no precision: bring that file back, or train again.")
        if precision not in PRECISIONS:
            raise InputError(
                f"{self.path / 'run.json'} says precision={precision!r}, which is none of {', '.join(PRECISIONS)}: "
                "bring that file back, or train again."
            )
        return str(precision)

    @property
    def inference(self) -> InferenceSettings:
        """How its stages look at scans; as by default, where its configuration does not say.

        Raises:
            InputError: one of the settings cannot be.
        """
        node = self.config.get("inference")
        try:
            return InferenceSettings(**to_plain(node)) if isinstance(node, DictConfig) else InferenceSettings()
        except TypeError as error:
            raise InputError(
                f"{self.path / 'config.yaml'} has settings in inference that this version does not know ({error}): use "
                "the version that run.json names."
            ) from error

    def members(self) -> dict[str, "RunFiles"]:
        """The runs that it takes as members, by name.

        Raises:
            InputError: see `read_members`.
        """
        place = f"{KEY} in {self.path / 'config.yaml'}"
        return read_members(self.config, place, (*self.within, self.path.resolve()), trust=self.trust, base=self.path)


def read_run(path: Path, trust: Sequence[str] = (), *, unfinished: bool = False) -> RunFiles:
    """Reads a run folder, or a bundle, that the user names by `run=`.

    Args:
        path: of the folder.
        trust: names of packages, modules, classes or functions that its configuration may call beside those that all
            may.
        unfinished: whether it may still be trained, as by the training that reads its own folder.

    Raises:
        InputError: it is none, its configuration calls what it may not, or its training has not finished.
    """
    for needed in FILES:
        if not (path / needed).is_file():
            raise InputError(
                f"run={path} is no run folder: it has no {needed}. Name the folder that a training printed."
            )
    run = RunFiles.read(path, trust=read_trust(trust))
    status = run.record.get("status", "finished")  # a record without one was made by hand
    if status != "finished" and not unfinished:
        raise InputError(
            f"run={path} is a training that is {status} and not finished: end it by task=train resume={path}, or name "
            "a finished run."
        )
    return run


def read_members(
    config: DictConfig,
    place: str = KEY,
    within: tuple[Path, ...] = (),
    *,
    trust: Sequence[str] | None = None,
    base: Path = Path(),
) -> dict[str, RunFiles]:
    """Reads the runs that a configuration names as members.

    Args:
        config: the whole configuration of a run.
        place: where the paths stand, for messages.
        within: the run itself and those whose members led to it.
        trust: names that the members' configurations may call beside those that all may; None: what the user, whose
            configuration it is, gives by `trust`.
        base: folder that relative paths begin at.

    Returns:
        Finished runs, by name; none where the configuration names none.

    Raises:
        InputError: a run is not there, not finished, named twice, or a member of itself.
    """
    trust = read_trust(OmegaConf.select(config, "trust") if trust is None else trust)
    paths = [base / path for path in member_paths(config)]
    for path in paths:
        missing = [name for name in FILES if not (path / name).is_file()]
        if missing:
            raise InputError(
                f"{place} names {path}, which is no run folder (it has no {missing[0]}): bring the run back, or name "
                "the folder where it is now."
            )
        if path.resolve() in within:
            raise InputError(f"{place} names {path}, which would be a member of itself: leave it out.")
    twice = [path for path in paths if [other.resolve() for other in paths].count(path.resolve()) > 1]
    if twice:
        raise InputError(
            f"{place} names {twice[0]} twice: name it once, and let it count more by model.member_weights."
        )
    runs = {str(number): RunFiles.read(path, within, trust) for number, path in enumerate(paths, start=1)}
    for run in runs.values():
        if run.record.get("status") != "finished":
            raise InputError(
                f"{place} names {run.path}, whose training is {run.record.get('status')} and not finished: end it by "
                f"resume={run.path}, or leave it out."
            )
    return runs


def refuse_exchanged(run: RunFiles, members: Mapping[str, RunFiles]) -> None:
    """Makes sure that the members of a run are those that it was made of.

    Args:
        run: a run; one that recorded nothing of its members is taken as it is.
        members: its member runs, by name.

    Raises:
        InputError: in the place of one of them lies another run, of another configuration or begun at another time.
    """
    recorded = run.record.get("members") or {}
    for name, member in members.items():
        for key in ("config_hash", "started"):
            before, now = recorded.get(name, {}).get(key), member.record.get(key)
            if before is not None and now != before:
                raise InputError(
                    f"{run.path} was made of the member {name}, {member.path}, when its {key} was {before}, "
                    f"and now it is {now}: bring the former run back there, or make the ensemble again in a new folder."
                )


def member_paths(config: DictConfig) -> Sequence[str]:
    """What `model.member_runs` holds.

    Raises:
        InputError: it is no list of paths.
    """
    node = OmegaConf.select(config, KEY)
    paths = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    if paths is None:
        return []
    if not isinstance(paths, list) or not all(isinstance(path, str) and path for path in paths):
        raise InputError(f"{KEY}={paths} is no list of run folders: write {KEY}=[RUN,RUN].")
    return paths


def _read_config(file: Path) -> DictConfig:
    try:
        config = OmegaConf.load(file)
    except (OSError, UnicodeDecodeError, YAMLError, OmegaConfBaseException) as error:
        raise _unreadable(file, error) from error
    if not isinstance(config, DictConfig):
        raise InputError(f"{file} holds no configuration: bring that file back, or train again.")
    return config


def _read_record(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> InputError:
    return InputError(f"{file} cannot be read ({' '.join(str(error).split())}): bring it back, or train again.")


def combination_of(config: DictConfig) -> Combination:
    """The combination that a configuration composes; by default the last stage decides."""
    combination: Combination | None = instantiate(config.model.get("combination"), _convert_="all")
    return LastStage() if combination is None else combination


def output_of(config: DictConfig, members: dict[str, RunFiles]) -> Output:
    """Meaning of the channels of what a configured method predicts.

    Args:
        config: the whole configuration.
        members: the runs that are its members.

    Raises:
        InputError: there is neither stage nor member, or what they predict does not fit together.
    """
    stages = enabled_stages(config.model.stages)
    outputs: dict[str, Output] = {
        name: instantiate(stage.module.output, _convert_="all") for name, stage in stages.items()
    }
    outputs |= {name: output_of(member.config, member.members()) for name, member in members.items()}
    combination = combination_of(config)
    combination.check(list(outputs))
    return combination.output(outputs)
