"""Config-composed experiments for kidney and kidney-tumor segmentation in CT.

`python -m kidney_lab` is the command. From Python, `kidney_lab.load_method(path)` gives the trained method of a run or
an exported bundle, or the mean of several, that segments a scan; `kidney_lab.metrics` scores any two label maps.

Importing the package loads neither torch nor numpy: help and configuration start at once. It only puts in place the
hook that lets `import torchvision` work where torchvision's compiled operators do not load (`import_hook`).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from kidney_lab import import_hook

if TYPE_CHECKING:
    from kidney_lab.inference.load import load_method

__all__ = ["__version__", "load_method"]

import_hook.install()


def __getattr__(name: str) -> Any:
    """Loads the public names on first use, because what stands behind them is slow to import."""
    if name == "__version__":
        return import_module("importlib.metadata").version("kidney-lab")
    if name == "load_method":
        return import_module("kidney_lab.inference.load").load_method
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Lists the names that are loaded on first use beside those that are there already."""
    return sorted({*globals(), *__all__})
