"""Runs `python -m kidney_lab` again and again: a process that has imported everything once, and forks for each command.

A line of JSON on its standard input is a command (`arguments`, `cwd`, `env`, files for `stdout` and `stderr`); its
answer is a line with the exit code. Each command is a process of its own, which begins and ends as any other does.
"""

import gc
import json
import os
import runpy
import sys
import weakref
from pathlib import Path

from wandb.sdk.data_types._private import MEDIA_TMP

import kidney_lab.tasks.agreement
import kidney_lab.tasks.evaluate
import kidney_lab.tasks.export
import kidney_lab.tasks.predict
import kidney_lab.tasks.report
import kidney_lab.tasks.train  # noqa: F401


def become(request: dict) -> None:
    """Turns a forked process into the one that was asked for."""
    for made in list(weakref.finalize._registry):
        made.detach()  # folders that libraries make when they are imported are the server's to remove
    Path(MEDIA_TMP.name).mkdir(exist_ok=True)  # which W&B removes with a run, and makes once a process
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    for name, number in (("stdout", 1), ("stderr", 2)):
        file = os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = ["kidney_lab", *request["arguments"]]


def serve() -> bool:
    """Forks for every request; returns True in a process that is to run one, and False when there are no more."""
    gc.freeze()  # what is there stays shared
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            become(request)
            return True
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    return False


if serve():
    sys.path[0] = str(Path.cwd())  # as `python -m` has it
    runpy.run_module("kidney_lab", run_name="__main__", alter_sys=True)
