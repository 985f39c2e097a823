"""Import hook: completes torchvision where its compiled operators do not load.

torchvision's wheel carries operators that are compiled against one build of torch. Beside another build (a CPU-only
torch of the same version, for instance) they do not load, `import torchvision` ends in "operator torchvision::nms does
not exist", and with it fail torchmetrics, PyTorch Lightning and parts of MONAI. The hook acts when torchvision is first
imported, in this process or in any worker that imports `kidney_lab`: torchvision itself tries its compiled operators,
and only where that fails, `torchvision_ops` registers substitutes. A working torchvision is left exactly as it is.

Nothing but the standard library is imported until then.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType


class _CompletingLoader(SourceFileLoader):
    """Runs torchvision's own `__init__.py`, between registering the missing operators and announcing them."""

    def exec_module(self, module: ModuleType) -> None:
        """Executes torchvision.

        Args:
            module: the empty package, already in `sys.modules`, so that its submodules can be imported.
        """
        # The first import of torchvision's own `__init__.py`, done one step earlier: it tries the compiled operators.
        if import_module("torchvision.extension")._has_ops():
            super().exec_module(module)
            return
        torchvision_ops = import_module("kidney_lab.torchvision_ops")
        torchvision_ops.register()
        super().exec_module(module)
        torchvision_ops.announce()


class TorchvisionFinder(MetaPathFinder):
    """Finds torchvision where Python would find it, and lets `_CompletingLoader` run it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Answers for the package torchvision alone; every other name is left to the other finders.

        Args:
            fullname: dotted name of the module that is imported.
            path: the parent package's search path; None for a top-level module.
            target: module that is reloaded, if any.

        Returns:
            torchvision's spec with the completing loader, or None.
        """
        if fullname != "torchvision":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _CompletingLoader(spec.loader.name, spec.loader.path)
        return spec


def install() -> None:
    """Puts the finder before Python's own; does nothing where it stands already."""
    if not any(isinstance(finder, TorchvisionFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, TorchvisionFinder())
