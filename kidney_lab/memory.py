"""Peak memory of this process, and what is left of the machine's."""

import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

_RESET_PEAK = "5"  # see proc(5), /proc/pid/clear_refs
_highest_mib = 0.0  # of the peaks that were reset


def reset_peak() -> bool:
    """Makes `peak_mib` count from now on; False where the system cannot forget a peak.

    So it is off Linux, and in a container whose /proc may not be written: there it counts from the process's start.
    """
    global _highest_mib  # the system forgets the peak for the whole process
    _highest_mib = overall_peak_mib()
    try:
        Path("/proc/self/clear_refs").write_text(_RESET_PEAK)
    except OSError:
        return False
    return True


def forget_peaks() -> bool:
    """Makes `overall_peak_mib` count from now on, as in a new process: for jobs that share one.

    What earlier jobs have left in memory counts for the next one too. Returns what `reset_peak` does.
    """
    global _highest_mib  # see `reset_peak`
    forgotten = reset_peak()
    _highest_mib = 0.0
    return forgotten


def peak_mib() -> float:
    """Largest resident memory of this process since `reset_peak`, MiB."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        kib = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
        return int(kib) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


def overall_peak_mib() -> float:
    """Largest resident memory of this process since it started, or since `forget_peaks`, whatever was reset, MiB."""
    return max(_highest_mib, peak_mib())


def available_mib() -> float | None:
    """Memory that new processes can take without swapping, MiB; None where the system does not say."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        kib = next(line.split()[1] for line in lines if line.startswith("MemAvailable"))
        return min(int(kib) / 1024, _cgroup_mib() or float("inf"))
    return None


def _cgroup_mib() -> float | None:
    """What is left under the limit of the container that this process runs in, MiB; None without a limit."""
    folder = Path("/sys/fs/cgroup")
    with suppress(OSError, ValueError):
        limit = int((folder / "memory.max").read_text())  # "max" without a limit
        return (limit - int((folder / "memory.current").read_text())) / 2**20
    return None


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
