"""What members of a method say of a scan, given as arrays, a run folder, and what could be wrong with one."""

import os
from dataclasses import dataclass

import pytest
import torch

from kidney_lab.methods.output import Output
from tests.support.made_runs import basic_unet, stage_config, write_checkpoint, write_run


@dataclass(frozen=True, eq=False)
class Said:
    """Probabilities that are known, as `kidney_lab.inference.slabs.Slabs`.

    Args:
        probabilities: `(C, *box)`.
        output: meaning of the channels.
        box: of the scan's grid.
        shape: of that grid.
    """

    probabilities: torch.Tensor
    output: Output
    box: tuple[slice, slice, slice]
    shape: tuple[int, int, int]

    def slab(self, part: slice) -> torch.Tensor:
        top = self.box[0].start
        assert part.start == part.stop or self.box[0].start <= part.start <= part.stop <= self.box[0].stop
        return self.probabilities[:, part.start - top : part.stop - top]


@pytest.fixture
def said():
    """Makes what a member says out of values `(C, *box)`; without a box they are of the whole scan."""

    def make(values, output, box=None, shape=None) -> Said:
        probabilities = torch.as_tensor(values, dtype=torch.float32)
        shape = shape or tuple(probabilities.shape[1:])
        return Said(probabilities, output, box or tuple(slice(0, n) for n in shape), shape)

    return make


@pytest.fixture
def write_weights():
    """Gives a run folder other random weights."""

    def write(folder, *, seed):
        write_checkpoint(folder, "segmentation", basic_unet(seed))

    return write


@pytest.fixture
def run(tmp_path):
    """A run folder with one stage of random weights."""
    return write_run(tmp_path / "a run", {"segmentation": basic_unet(4)}, stage=stage_config())


@pytest.fixture
def touching():
    """Makes what runs code when it is unpickled: it makes a file."""

    class Touch:
        def __init__(self, path):
            self.path = path

        def __reduce__(self):
            return os.mknod, (str(self.path),)

    return Touch
