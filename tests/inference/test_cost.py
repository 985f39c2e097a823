import sys
from functools import partial

import numpy as np
import pytest
import torch
from monai.inferers import SimpleInferer, SlidingWindowInferer
from monai.losses import DiceCELoss
from monai.transforms import ScaleIntensityRange
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import ConstantLR

from kidney_lab.data.prepare import GridRecipe
from kidney_lab.data.views import PatchView
from kidney_lab.geometry import Volume, grid_from_spacing
from kidney_lab.inference.cost import CostMeter
from kidney_lab.inference.ensemble import Ensemble
from kidney_lab.inference.method import TrainedMethod
from kidney_lab.methods.output import build_output
from kidney_lab.methods.stage import Stage
from kidney_lab.methods.supervised import SupervisedSegmentation
from kidney_lab.transforms import Augment

WINDOW = (8, 16, 16)


def method(inferer=None, device="cpu"):
    """One convolution, in windows that overlap by a quarter, two in a batch."""
    module = SupervisedSegmentation(
        network=nn.Conv3d(1, 2, 3, padding=1),
        loss=DiceCELoss(sigmoid=True),
        optimizer=partial(SGD, lr=0.1),
        scheduler=partial(ConstantLR, factor=1.0),
        output=build_output("regions", labels=["kidney", "tumor"], regions=["kidney_and_mass", "tumor"]),
    )
    stage = Stage(
        module=module,
        view=PatchView(roi_size=WINDOW, samples_per_epoch=2, val_samples=2, foreground_fraction=0.5),
        augment=Augment(),
        intensity=ScaleIntensityRange(a_min=0, a_max=1000, b_min=0.0, b_max=1.0),
        inferer=inferer or SlidingWindowInferer(roi_size=WINDOW, overlap=0.25, sw_batch_size=2),
        grid=GridRecipe(spacing=None, order=1),
        batch_size=1,
    )
    return TrainedMethod({"only": stage}, device=torch.device(device), precision="32-true")


def volume(shape):
    return Volume(
        np.random.default_rng(0).integers(-100, 300, shape).astype(np.int16), grid_from_spacing(shape, (1.0,) * 3)
    )


def flops_of(shape):
    return 2 * 3**3 * 1 * 2 * int(np.prod(shape))  # multiply and add, per weight and voxel


def test_windows_are_those_of_the_inferer_and_flops_are_theirs():
    _, cost = CostMeter(method()).segment(volume((14, 16, 28)))

    # 2 along D (steps of 6), 1 along H, 2 along W (steps of 12)
    assert cost.windows == 2 * 1 * 2
    assert cost.flops == 4 * flops_of((8, 16, 16))


def test_a_whole_volume_is_one_window_of_its_own_size():
    meter = CostMeter(method(SimpleInferer()))

    for shape in ((4, 8, 8), (6, 8, 8)):
        cost = meter.segment(volume(shape))[1]
        assert (cost.windows, cost.flops) == (1, flops_of(shape))


def test_an_ensemble_costs_what_all_of_its_members_cost():
    own, one, two = (method().stages["only"] for _ in range(3))
    inner = TrainedMethod(
        {"only": two}, device=torch.device("cpu"), precision="32-true", members={"1": method()}, combination=Ensemble()
    )
    ensemble = TrainedMethod(
        {"own": own, "other": one},
        device=torch.device("cpu"),
        precision="32-true",
        members={"1": inner},
        combination=Ensemble(),
    )

    _, cost = CostMeter(ensemble).segment(volume((14, 16, 28)))

    assert (cost.windows, cost.flops) == (4 * 4, 4 * 4 * flops_of((8, 16, 16)))


def test_the_label_map_is_the_method_s_own_and_nothing_stays_behind():
    trained, scan = method(), volume((9, 20, 20))
    segmentation, cost = CostMeter(trained).segment(scan)

    np.testing.assert_array_equal(segmentation.labels.array, trained.segment_volume(scan).array)
    assert segmentation.labels.grid is scan.grid
    assert not trained.stages["only"].module.network._forward_pre_hooks
    assert cost.seconds > 0
    assert cost.device_mib is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can forget a peak")
def test_memory_is_the_peak_of_this_case_alone():
    meter = CostMeter(method())
    before = np.ones(200 * 2**20, np.uint8)
    size = before.nbytes / 2**20
    with_block = meter.segment(volume((8, 16, 16)))[1].peak_mib
    del before

    assert meter.segment(volume((8, 16, 16)))[1].peak_mib < with_block - size / 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_memory_on_the_gpu_holds_the_network_and_a_window():
    meter = CostMeter(method(device="cuda"))
    small, large = (meter.segment(volume(shape))[1] for shape in ((8, 16, 16), (40, 128, 128)))

    assert 0 < small.device_mib < large.device_mib
    assert large.device_mib > 40 * 128 * 128 * 4 / 2**20
