"""A network as ONNX, checked against PyTorch under ONNX Runtime.

PyTorch's own exporter writes it (`torch.onnx.export`, the one built on `torch.export`), with a batch of any size and
the other axes as they are given. The file is kept only where its output is that of the network.
"""

import importlib.util
import logging
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kidney_lab.errors import InputError
from kidney_lab.files import replacing

log = logging.getLogger(__name__)

OPSET: Final = 18
"""Version of ONNX's operators: what ONNX Runtime has known since 1.14."""
TOLERANCE: Final = 1e-4
"""Largest difference of a logit between ONNX Runtime and PyTorch, both in float32, for logits of about 1."""
INPUT, OUTPUT = "image", "logits"

_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
_BATCHES = (1, 2)


class NotExportableError(Exception):
    """A network that ONNX cannot hold; the message says why."""


def export_onnx(network: nn.Module, path: Path, input_shape: Sequence[int]) -> float:
    """Writes a network as ONNX: input `image` `(batch, C, ...)`, output `logits` `(batch, K, ...)`, float32.

    Args:
        network: one tensor to one tensor of logits; it is set to evaluation mode, on the CPU.
        path: of the file, `.onnx`; it appears whole or not at all.
        input_shape: `(C, D, H, W)` or `(C, H, W)` of one sample.

    Returns:
        The largest difference of a logit between ONNX Runtime and PyTorch, at several sizes of the batch.

    Raises:
        NotExportableError: the network gives no single tensor, holds what ONNX has not, or the outputs differ by more
            than `TOLERANCE` of the largest logit (or of 1 where all are smaller).
        InputError: the packages of the extra `export` are not installed.
    """
    require_packages()
    network = network.cpu().float().eval()
    with torch.no_grad():
        sample = torch.randn(2, *input_shape, generator=torch.Generator().manual_seed(0))
        logits = network(sample)
    if not isinstance(logits, Tensor):
        raise NotExportableError(f"{type(network).__name__} gives {type(logits).__name__}, not one tensor of logits")
    with replacing(path) as temporary:
        _write(network, temporary, sample)
        worst = largest_difference(network, temporary, input_shape)
        limit = TOLERANCE * max(1.0, float(logits.abs().max()))
        if not worst <= limit:
            raise NotExportableError(f"ONNX Runtime's output differs by {worst:.2g}, above {limit:.2g}")
    return worst


def require_packages() -> None:
    """Makes sure that what writes and runs ONNX is installed.

    Raises:
        InputError: it is not.
    """
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"onnx=true needs {', '.join(missing)}: install what is missing by pip install 'kidney-lab[export]', or "
            "set onnx=false."
        )


def largest_difference(network: nn.Module, path: Path, input_shape: Sequence[int]) -> float:
    """Compares an ONNX file with the network that it was made of, on random input.

    Args:
        network: in evaluation mode, on the CPU.
        path: of the file.
        input_shape: of one sample.

    Returns:
        Largest absolute difference of a logit, over batches of one and more samples.
    """
    session = import_module("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
    worst, generator = 0.0, torch.Generator().manual_seed(1)
    for batch in _BATCHES:
        image = torch.randn(batch, *input_shape, generator=generator)
        (found,) = session.run([OUTPUT], {INPUT: image.numpy()})
        with torch.no_grad():
            expected = network(image).numpy()
        worst = max(worst, float(np.abs(found - expected).max()))
    return worst


def _write(network: nn.Module, path: Path, sample: Tensor) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about its own parts
        try:
            torch.onnx.export(
                network,
                (sample,),
                path,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                opset_version=OPSET,
                external_data=False,
                custom_translation_table={torch.ops.aten._adaptive_avg_pool3d.default: _average_pool},
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            reason = str(error.__cause__ or error).splitlines()[0]
            raise NotExportableError(f"{type(network).__name__} holds what ONNX has not ({reason})") from error


def _average_pool(image: Any, output_size: Sequence[int]) -> Any:
    """Adaptive average pooling, which PyTorch's exporter does not know in 3D, as a product with a matrix per axis."""
    tensor, opset = import_module("onnx_ir").tensor, import_module("onnxscript").opset18
    means = [
        opset.Constant(value=tensor(averaging(int(n), m)))
        for n, m in zip(list(image.shape)[2:], output_size, strict=True)
    ]
    return opset.Einsum(image, *means, equation="bcdhw,xd,yh,zw->bcxyz")


def averaging(n: int, m: int) -> NDArray[np.float32]:
    """The matrix that adaptive average pooling of one axis is.

    Args:
        n: length of the axis.
        m: length that is wanted.

    Returns:
        `(m, n)`: row i averages the places from `floor(i n / m)` to below `ceil((i + 1) n / m)`.

    >>> averaging(4, 2).tolist()
    [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]
    """
    matrix = np.zeros((m, n), np.float32)
    for i in range(m):
        first, last = i * n // m, -(-(i + 1) * n // m)
        matrix[i, first:last] = 1 / (last - first)
    return matrix
