"""Pages of the documentation as a reader follows them: their files in a folder of his own, and their commands."""

import importlib
import os
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
import torch

from kidney_lab.__main__ import main

DOCS = Path(__file__).resolve().parents[2] / "docs"
FILE = re.compile(r"^`(?P<path>[\w./-]+)`\n\n```\w+\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
ALONE = ["-c", os.devnull, "--rootdir=.", *(f"-pno:{plugin}" for plugin in ("cacheprovider", "faulthandler", "xdist"))]
"""Of pytest within pytest: no settings of this project, and nothing that the outer one would miss afterwards."""

COMMAND = re.compile(r"^    python (?P<arguments>.+)$", re.MULTILINE)


class Page:
    """A page and the folder in which it is followed."""

    def __init__(self, text, folder):
        self.folder = folder
        self.commands = [shlex.split(arguments) for arguments in COMMAND.findall(text)]
        for match in FILE.finditer(text):
            file = folder / match["path"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(match["text"], encoding="utf-8")

    def run(self, *words):
        """Runs the one command of the page that has these words, in this process: starting another takes seconds."""
        (command,) = [one for one in self.commands if set(words) <= set(one)]
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            patch.setattr(sys, "path", [str(self.folder), *sys.path])  # as `python -m` does, and a script beside it
            patch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)  # one core: no workers to start
            importlib.invalidate_caches()
            if command[:2] == ["-m", "kidney_lab"]:
                patch.setattr(sys, "argv", command[1:])
                patch.setenv("HYDRA_FULL_ERROR", "1")  # as the command sets it, and here not for the tests after this
                deterministic = torch.are_deterministic_algorithms_enabled()
                main()
                torch.use_deterministic_algorithms(deterministic)
            elif command[:2] == ["-m", "pytest"]:
                assert pytest.main([*command[2:], *ALONE]) == 0
            else:
                runpy.run_path(str(self.folder / command[0]), run_name="__main__")  # absolute, for its worker processes


@pytest.fixture(scope="module")
def follow(tmp_path_factory):
    """Writes the files of a page into an empty folder; what they import there is forgotten at the end."""
    before = set(sys.modules)
    yield lambda name: Page((DOCS / f"{name}.md").read_text(encoding="utf-8"), tmp_path_factory.mktemp(name))
    for name in set(sys.modules) - before:
        if name.partition(".")[0] == "my_lab":
            del sys.modules[name]
