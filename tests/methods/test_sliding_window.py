from functools import partial

import pytest
import torch
from monai.data.utils import compute_importance_map
from monai.inferers import sliding_window_inference
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from kidney_lab.methods.sliding_window import RollingSum, slide
from kidney_lab.methods.windows import window_corners

ROI = (6, 8, 8)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """Sees a neighbourhood, so that a voxel gets another answer in every window."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv3d(1, 4, 5, padding=2), nn.ReLU(), nn.Conv3d(4, 3, 5, padding=2)).eval()


def noise(*shape: int) -> Tensor:
    return torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def slid(network, image: Tensor, *, overlap=0.5, mode="gaussian", batch_size=1, corners=None, asked=None):
    """Means and where any window was, of the whole volume, and the depths of the slabs that they came in."""

    def look(corners) -> Tensor:
        if asked is not None:
            asked.append(list(corners))
        windows = [image[0, :, d : d + 6, h : h + 8, w : w + 8] for d, h, w in corners]
        return network(torch.stack(windows))

    shape = tuple(image.shape[2:])
    slabs = slide(
        look,
        window_corners(shape, ROI, overlap) if corners is None else corners,
        shape=shape,
        weight=compute_importance_map(ROI, mode=mode, sigma_scale=0.125),
        channels=3,
        batch_size=batch_size,
    )
    scores, seen = zip(*((mean.clone(), seen) for mean, seen in slabs), strict=True)
    return torch.cat(scores, dim=1), torch.cat(seen), [len(slab) for slab in seen]


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.75, (0.5, 0.25, 0.0)])
@pytest.mark.parametrize("mode", ["gaussian", "constant"])
@pytest.mark.parametrize("shape", [(6, 8, 8), (7, 9, 20), (25, 13, 11)])
def test_means_are_monai_s(network, shape, mode, overlap):
    image = noise(*shape)
    with torch.no_grad():
        expected = sliding_window_inference(image, ROI, 1, network, overlap=overlap, mode=mode, sigma_scale=0.125)[0]

    scores, seen, _ = slid(network, image, overlap=overlap, mode=mode)

    assert seen.all()
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(scores.argmax(dim=0), expected.argmax(dim=0))


def test_batches_change_nothing(network):
    image, asked = noise(14, 20, 19), []
    alone, *_ = slid(network, image)

    together, *_ = slid(network, image, batch_size=5, asked=asked)

    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)
    assert {len(batch) for batch in asked} == {5, 1}  # 16 windows of each first slice
    assert all(len({corner[0] for corner in batch}) == 1 for batch in asked)


def test_what_no_window_reached_is_marked_and_zero(network):
    image = noise(30, 12, 12)
    every = window_corners((30, 12, 12), ROI, 0.5)
    some = [(d, h, w) for d, h, w in every if 6 <= d < 12 and h == 0]

    scores, seen, _ = slid(network, image, corners=some)

    expected = torch.zeros(30, 12, 12, dtype=torch.bool)
    for d, h, w in some:
        expected[d : d + 6, h : h + 8, w : w + 8] = True
    assert torch.equal(seen, expected)
    assert not scores[:, ~seen].any()
    alone = torch.zeros_like(image)
    with torch.no_grad():
        alone = network(image[..., 9:15, 0:8, 0:8])  # the last window of all, in slices of its own
    torch.testing.assert_close(scores[:, 12:15, 0:8, 0:4], alone[0, :, 3:6, :, 0:4], rtol=1e-4, atol=1e-5)


def test_without_windows_there_is_nothing_anywhere(network):
    scores, seen, depths = slid(network, noise(40, 8, 8), corners=[])

    assert not scores.any()
    assert not seen.any()
    assert sum(depths) == 40


def test_slices_are_handed_on_before_later_windows_are_looked_at(network):
    image, asked = noise(48, 8, 8), []
    slabs = slide(
        lambda corners: asked.extend(corners) or torch.zeros(len(corners), 3, *ROI),
        window_corners((48, 8, 8), ROI, 0.5),
        shape=(48, 8, 8),
        weight=torch.ones(ROI),
        channels=3,
        batch_size=1,
    )

    handed_on = 0
    for scores, _ in slabs:
        handed_on += scores.shape[1]
        assert max(corner[0] for corner in asked) <= handed_on  # no window that begins beyond

    assert handed_on == image.shape[2]


def peak_of_floats(depth: int) -> int:
    """Most bytes that tensors of floats take at a time while windows slide over a volume of `depth` slices."""
    live, peak = {}, [0]

    class Counting(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            for tensor in result if isinstance(result, tuple | list) else [result]:
                if isinstance(tensor, Tensor) and tensor.is_floating_point():
                    storage = tensor.untyped_storage()
                    live[storage.data_ptr()] = (
                        torch.multiprocessing.reductions.StorageWeakRef(storage),
                        storage.nbytes(),
                    )
            for key in [key for key, (reference, _) in live.items() if reference.expired()]:
                del live[key]
            peak[0] = max(peak[0], sum(size for _, size in live.values()))
            return result

    with Counting():
        for _ in slide(
            lambda corners: torch.ones(len(corners), 3, *ROI),
            window_corners((depth, 20, 20), ROI, 0.5),
            shape=(depth, 20, 20),
            weight=torch.ones(ROI),
            channels=3,
            batch_size=2,
        ):
            pass
    return peak[0]


def test_memory_does_not_depend_on_the_number_of_slices():
    short, long = peak_of_floats(24), peak_of_floats(240)

    held, window = 4 * (3 + 1) * ROI[0] * 20 * 20, 4 * ROI[0] * ROI[1] * ROI[2]
    assert short == long
    assert held < long < 2 * held + 2 * 4 * window  # sums and weights, the slab at hand, a batch of windows


class TestRollingSum:
    def test_it_holds_as_many_slices_as_a_window_is_deep(self):
        total = RollingSum(2, 3, (4, 5), torch.device("cpu"))

        assert total.sums.shape == (2, 3, 4, 5)
        assert total.weights.shape == (3, 4, 5)

    def test_windows_are_weighed_by_hand(self):
        total = RollingSum(1, 2, (1, 2), torch.device("cpu"))
        add = partial(total.add, weight=torch.tensor([1.0, 3.0]).view(2, 1, 1))

        add((0, 0, 0), torch.tensor([1.0, 2.0]).view(1, 2, 1, 1))
        ((first, seen),) = [(mean.clone(), seen) for mean, seen in total.finish(1)]
        add((1, 0, 0), torch.tensor([4.0, 8.0]).view(1, 2, 1, 1))
        second, third = (mean.clone() for mean, _ in total.finish(3))

        assert first.flatten().tolist() == [1, 0]
        assert seen.flatten().tolist() == [True, False]
        assert second.flatten().tolist() == [(3 * 2 + 1 * 4) / 4, 0]
        assert third.flatten().tolist() == [8, 0]
