"""The sweeper of `python -m kidney_lab -m …`: sweeps that survive what happens to their jobs.

It composes all jobs before the first runs, knows each by its key, leaves out those that are finished, and ends with a
table of what became of every one.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import setup_globals
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from kidney_lab.composition.arguments import quote_path
from kidney_lab.composition.config_hash import job_key, movable_paths
from kidney_lab.composition.decisive import lasting
from kidney_lab.composition.job_places import Job, job_places, refuse_shared, tell_moved
from kidney_lab.composition.messages import USER_ERRORS, describe, to_plain
from kidney_lab.composition.prediction_rows import check_predictions
from kidney_lab.composition.sweep_end import first_line, how_to_go_on, job_errors, tell_unfinished
from kidney_lab.composition.sweep_folders import (
    NOT_STARTED,
    JobFolder,
    match_folders,
    newest_sweep,
    read_folders,
    signs_of_sweep,
    write_waiting,
)
from kidney_lab.composition.sweep_table import JobLine, print_table, write_table
from kidney_lab.composition.table import Table, check_experiment, combinations, table_jobs
from kidney_lab.errors import BatchError, InputError
from kidney_lab.heartbeat import beating

TARGET: Final = "hydra_plugins.kidney_lab.JobSweeper"
"""Name of the sweeper in `conf/hydra/sweeper/kidney_lab.yaml`."""

_NUMBERED: Final = ("${hydra:job.num}", "${hydra.job.num}")
_AGAIN: Final = ("failed", "interrupted", NOT_STARTED)


class JobSweeper(Sweeper):
    """Runs the jobs of a sweep, or the rows of a paper's table, by any of Hydra's launchers."""

    hydra_context: HydraContext
    config: DictConfig
    launcher: Launcher

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Takes over what Hydra composed from the command line, without what it sweeps over."""
        self.hydra_context = hydra_context
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Composes every job, runs those that are not finished, and ends with the table of all.

        Args:
            arguments: overrides of the command line.

        Raises:
            InputError: a job cannot be composed, or the folder holds another sweep, and nothing has been run; or no
                job could do anything, since the input of each is wrong.
            BatchError: some jobs failed; all others have been run.
            KeyboardInterrupt: with what to tell the user.
        """
        jobs = self._jobs(arguments)
        folder = self._folder()
        launched = self._open(jobs, folder)
        errors: dict[int, str] = {}
        try:
            if launched:
                with beating(signs_of_sweep(folder)):
                    returned = self.launcher.launch(list(launched.values()), initial_job_idx=0)
                errors = job_errors(launched, returned)
        except KeyboardInterrupt as error:
            self._close(jobs, folder, errors)
            raise KeyboardInterrupt(f"interrupted; {how_to_go_on(folder)}") from error
        except Exception as error:  # of the launcher: what fails in a job does not come here
            self._close(jobs, folder, errors)
            raise BatchError(
                f"the launcher ended before its jobs ({first_line(error)}); jobs that it has handed to other "
                f"processes or machines may still run; {how_to_go_on(folder)}"
            ) from error
        tell_unfinished(self._close(jobs, folder, errors), folder)

    def _jobs(self, arguments: list[str]) -> list[Job]:
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides(arguments)
        check_experiment(self.config, overrides)
        if "rows" not in self.config and self.config.experiment.table is None:
            return [self._compose(list(job), place, name="") for place, job in enumerate(combinations(overrides))]
        table = Table.of(self.config)
        check_predictions(table.rows)
        jobs = enumerate(table_jobs(table, overrides))
        return [self._compose(job, place, name=f"{table.name}, ") for place, job in jobs]

    def _compose(self, overrides: list[str], place: int, *, name: str) -> Job:
        """Composes a job as the launcher will, to find what is wrong before anything runs, and to know its key.

        Raises:
            InputError: it cannot be composed.
        """
        setup_globals()
        before = HydraConfig.instance().cfg
        try:
            config = self.hydra_context.config_loader.load_sweep_config(self.config, overrides)
            with read_write(config.hydra), open_dict(config.hydra):  # what is known only while a job runs
                config.hydra.runtime.output_dir = self.config.hydra.sweep.dir
                config.hydra.job.id = config.hydra.job.num = place
            HydraConfig.instance().set_config(config)
            task = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
            plain = to_plain(task)
            numbered = config.hydra.sweep._get_node("subdir")._value() in _NUMBERED
            subdir = None if numbered else str(config.hydra.sweep.subdir)
            return Job(tuple(overrides), job_key(plain), task.experiment.row, subdir, movable_paths(plain))
        except USER_ERRORS as error:
            of = next((item for item in overrides if item.startswith("experiment.row=")), " ".join(overrides))
            raise InputError(f"{name}{of}: {describe(error, overrides)}") from error
        finally:
            HydraConfig.instance().cfg = before

    def _folder(self) -> Path:
        """The folder of the sweep.

        Raises:
            InputError: a sweep is to be gone on with, and nothing says which.
        """
        if not isinstance(self.config.sweep.resume, bool):
            raise InputError(f"sweep.resume={self.config.sweep.resume} must be true or false.")
        folder = Path(self.config.hydra.sweep.dir)
        named = any(str(item).startswith("hydra.sweep.dir=") for item in self.config.hydra.overrides.hydra)
        if not self.config.sweep.resume or named or folder.is_dir():
            return folder
        newest = newest_sweep(folder)
        if newest is None:
            raise InputError(f"sweep.resume=true finds no sweep in {folder.parent}: leave it out to begin one.")
        raise InputError(
            f"sweep.resume=true does not say with which sweep to go on: add hydra.sweep.dir={newest}, the newest in "
            f"{folder.parent}, or another."
        )

    def _open(self, jobs: Sequence[Job], folder: Path) -> dict[int, list[str]]:
        """Writes the folder of the sweep.

        Returns:
            Overrides of the jobs that are to be run, by their places: none that is finished or is running elsewhere.

        Raises:
            InputError: it holds jobs already, and the sweep is not to be gone on with, or two jobs would share a
                folder.
        """
        begun = _read(jobs, folder)
        if begun and not self.config.sweep.resume:
            raise InputError(
                f"hydra.sweep.dir={folder} holds {len(begun)} jobs already: go on with them by sweep.resume=true, or "
                "choose another folder."
            )
        found = match_folders([job.key for job in jobs], begun)
        names = job_places(jobs, found, folder)
        refuse_shared(jobs, names, found, [os.path.relpath(own.path, folder) for own in begun])
        stands = [
            NOT_STARTED if own is None else own.status for own in found
        ]  # before this command gives signs of life
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, signs_of_sweep(folder))
        launched = {}
        for place, (job, own, status, name) in enumerate(zip(jobs, found, stands, names, strict=True)):
            if own is not None:
                tell_moved(job, own)
            if status not in _AGAIN:
                continue
            about = {"overrides": lasting(job.overrides), "job": {"key": job.key, "row": job.row}, "before": status}
            if not write_waiting(folder / name, {} if own is None else own.record, folder, about):
                continue  # another command has been quicker
            where = [f"hydra.sweep.dir={quote_path(str(folder.resolve()))}", f"hydra.sweep.subdir={quote_path(name)}"]
            launched[place] = [*job.overrides, *where, f"sweep.job='{job.key}'"]
        return launched

    def _close(self, jobs: Sequence[Job], folder: Path, errors: Mapping[int, str]) -> list[JobFolder | None]:
        """Writes and prints the table of the sweep, out of what every job says of itself.

        Args:
            jobs: of the sweep.
            folder: of the sweep.
            errors: of those jobs that failed, by their places: a job may have been unable to write its own.

        Returns:
            The folder of every job; None where it has not begun.
        """
        begun = _read(jobs, folder)
        found = match_folders([job.key for job in jobs], begun)
        for place, error in errors.items():
            own = found[place]
            if own is not None and own.status != "failed":
                untold = {**own.record, "status": "failed", "error": error}
                found[place] = begun[begun.index(own)] = JobFolder(own.path, untold)
        unbegun = [job for job, own in zip(jobs, found, strict=True) if own is None]
        gone = [JobLine(job.row, tuple(lasting(job.overrides))) for job in unbegun]
        lines = [*map(JobLine.of, begun), *gone]
        write_table(lines, folder / "sweep.csv")
        print_table(lines, folder)
        return found


def register_sweeper() -> None:
    """Lets configurations choose the sweeper.

    Hydra takes sweepers out of the namespace `hydra_plugins` alone, which it searches for modules at every start. This
    one is entered under such a name, so that it can stay in the package and be pickled from there by a launcher.
    """
    Plugins.instance().class_name_to_class[TARGET] = JobSweeper


def _read(jobs: Sequence[Job], folder: Path) -> list[JobFolder]:
    return read_folders(folder, [job.subdir for job in jobs if job.subdir is not None])
