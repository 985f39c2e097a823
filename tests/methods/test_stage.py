from functools import partial

from monai.losses import DiceCELoss
from monai.transforms import Compose, ScaleIntensityRange
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import ConstantLR

from kidney_lab.data.prepare import GridRecipe
from kidney_lab.data.views import PatchView
from kidney_lab.methods.output import build_output
from kidney_lab.methods.stage import Stage
from kidney_lab.methods.supervised import SupervisedSegmentation


def test_a_stage_gives_its_inferer_to_its_module():
    def inferer(image: Tensor, network) -> Tensor:
        return network(image)

    module = SupervisedSegmentation(
        network=nn.Conv3d(1, 2, 1),
        loss=DiceCELoss(sigmoid=True),
        optimizer=partial(SGD, lr=0.1),
        scheduler=partial(ConstantLR, factor=1.0),
        output=build_output("regions", labels=["kidney", "tumor"], regions=["kidney_and_mass", "tumor"]),
    )

    Stage(
        module=module,
        view=PatchView(roi_size=(4, 4, 4), samples_per_epoch=2, val_samples=2, foreground_fraction=0.5),
        augment=Compose([]),
        intensity=ScaleIntensityRange(a_min=-79, a_max=304, b_min=-1.0, b_max=1.0),
        inferer=inferer,
        grid=GridRecipe(),
        batch_size=2,
    )

    assert module.inferer is inferer
