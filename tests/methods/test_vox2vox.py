"""The adversarial training of Vox2Vox on noisy balls; every training takes seconds at most."""

from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from monai.losses import DiceLoss, PatchAdversarialLoss
from monai.networks.nets import PatchDiscriminator
from torch import nn
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import ConstantLR
from torch.utils.data import DataLoader

from kidney_lab.errors import InputError
from kidney_lab.losses.difficulty import DifficultyLoss
from kidney_lab.losses.generalized_dice import GeneralizedDiceLoss
from kidney_lab.methods.discriminators import Level
from kidney_lab.methods.output import build_output
from kidney_lab.methods.vox2vox import Vox2VoxSegmentation, refuse_small_images
from kidney_lab.networks.vox2vox import Vox2VoxGenerator

pytestmark = pytest.mark.filterwarnings("ignore")

OUTPUT = build_output("labels", labels=["kidney", "tumor"], regions=["kidney_and_mass", "tumor"])
STILL = partial(SGD, lr=0.0)


def sample(seed: int) -> dict:
    """A kidney with a tumor inside, in noise."""
    chance = torch.Generator().manual_seed(seed)
    axes = torch.meshgrid(*[torch.arange(16.0)] * 3, indexing="ij")
    centre = 6 + 4 * torch.rand(3, generator=chance)
    distance = sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True))
    label = (distance < 25).to(torch.uint8) + (distance < 6).to(torch.uint8)
    return {"image": (label + 0.3 * torch.randn(16, 16, 16, generator=chance))[None], "label": label[None]}


def loader(batches: int) -> DataLoader:
    return DataLoader([sample(k) for k in range(2 * batches)], batch_size=2)


def module(discriminator=None, **settings) -> Vox2VoxSegmentation:
    torch.manual_seed(0)
    given = {
        "loss": GeneralizedDiceLoss(softmax=True, batch=True),
        "optimizer": partial(SGD, lr=0.1),
        "discriminator_optimizer": partial(SGD, lr=0.1),
    }
    return Vox2VoxSegmentation(
        network=Vox2VoxGenerator(1, 3, channels=(2, 4, 4), dropout=0.0),
        scheduler=partial(ConstantLR, factor=1.0),
        output=OUTPUT,
        discriminator=discriminator
        or partial(PatchDiscriminator, spatial_dims=3, channels=2, num_layers_d=1, norm="instance"),
        adversarial_loss=PatchAdversarialLoss(criterion="least_squares", no_activation_leastsq=True),
        **given | settings,
    )


def trained(folder, batches: int = 1, **settings) -> tuple[Vox2VoxSegmentation, pl.Trainer]:
    learned = module(**settings)
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=1,
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(learned, loader(batches))
    return learned, trainer


def same(left: nn.Module, right: nn.Module) -> bool:
    pairs = zip(left.parameters(), right.parameters(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


class Fixed(nn.Module):
    """A discriminator that gives references one score and predictions another, whatever it is shown."""

    def __init__(self, real: float, fake: float) -> None:
        super().__init__()
        self.real, self.fake = real, fake

    def forward(self, pair: torch.Tensor) -> list[torch.Tensor]:
        mask = pair[:, 1:]
        is_real = bool(((mask == 0) | (mask == 1)).all())
        return [torch.full((len(pair), 1, 2, 2, 2), self.real if is_real else self.fake)]


def level(sharpness: float) -> Level:
    """A prediction that is the reference with a large sharpness, and everywhere wrong with a negative one."""
    shown = sample(0)
    target = OUTPUT.target(shown["label"][None])
    return Level(shown["image"][None], sharpness * (2 * target - 1), target)


@pytest.mark.parametrize(("real", "fake", "deceived", "judged"), [
    (1.0, 0.0, 1.0, 0.0),
    (0.0, 1.0, 0.0, 1.0),
    (1.0, 1.0, 0.0, 0.5),
    (-2.0, 0.5, 0.25, (9 + 0.25) / 2),
])  # fmt: skip
def test_adversarial_losses_are_the_squared_distances_from_one_and_zero(real, fake, deceived, judged):
    learned = module(lambda in_channels: Fixed(real, fake))

    total, terms = learned.segmentation_loss([level(5.0)])

    assert terms["train/adv_0"].item() == pytest.approx(deceived)
    assert learned.discriminator_losses([level(5.0)])["train/discriminator_0"].item() == pytest.approx(judged)
    assert total.item() == pytest.approx(5 * terms["train/segmentation_loss"].item() + deceived)


@pytest.mark.parametrize(("sharpness", "dice"), [(10.0, 0.0), (-10.0, 1.0)])
def test_generalized_dice_counts_five_times(sharpness, dice):
    learned = module(lambda in_channels: Fixed(0.0, 0.0))

    total, terms = learned.segmentation_loss([level(sharpness)])

    assert terms["train/segmentation_loss"].item() == pytest.approx(dice, abs=1e-3)
    assert total.item() == pytest.approx(5 * dice + 1, abs=5e-3)


def dice_by_hand(logits, target):
    """Generalized Dice of a batch taken for one volume, class by class."""
    numerator = denominator = 0.0
    for p, g in zip(logits.softmax(dim=1).transpose(0, 1), target.transpose(0, 1), strict=True):
        numerator = numerator + 2 * (p * g).sum() / g.sum() ** 2
        denominator = denominator + (p + g).sum() / g.sum() ** 2
    return 1 - numerator / denominator


def test_training_takes_the_steps_of_both_networks_in_turn(tmp_path):
    learned, trainer = trained(tmp_path, batches=3)

    start = module()
    generator, discriminator = start.network, start.discriminators
    steps = [SGD(network.parameters(), lr=0.1) for network in (generator, discriminator)]
    judged = []
    for batch in loader(3):
        image, target = batch["image"], OUTPUT.target(batch["label"])
        logits = generator(image)
        deceived = (discriminator(torch.cat([image, logits.softmax(dim=1)], dim=1))[-1] - 1).square().mean()
        (5 * dice_by_hand(logits, target) + deceived).backward()
        steps[0].step()
        discriminator.zero_grad()
        fake = discriminator(torch.cat([image, logits.detach().softmax(dim=1)], dim=1))[-1]
        real = discriminator(torch.cat([image, target], dim=1))[-1]
        loss = (fake.square().mean() + (real - 1).square().mean()) / 2
        loss.backward()
        steps[1].step()
        generator.zero_grad()
        discriminator.zero_grad()
        judged.append(loss.item())
    assert trainer.global_step == 3
    assert float(trainer.callback_metrics["train/discriminator_0"]) == pytest.approx(sum(judged) / 3, rel=1e-4)
    for name, value in start.state_dict().items():
        torch.testing.assert_close(learned.state_dict()[name], value, atol=1e-5, rtol=1e-3)


def test_the_generator_s_loss_trains_no_discriminator(tmp_path):
    one, _ = trained(tmp_path, segmentation_weight=0.0)
    other, _ = trained(tmp_path, segmentation_weight=100.0)

    assert same(one.discriminators, other.discriminators)
    assert not same(one.network, other.network)
    assert not same(one.network, module().network)  # it learns from the discriminator alone too


def test_the_discriminator_s_loss_trains_no_generator(tmp_path):
    one, _ = trained(tmp_path, discriminator_optimizer=STILL)
    other, _ = trained(tmp_path)

    assert same(one.network, other.network)
    assert same(one.discriminators, module().discriminators)
    assert not same(other.discriminators, module().discriminators)


def test_the_validation_loss_is_the_segmentation_s(tmp_path):
    batch = next(iter(loader(1)))
    learned = module().eval()

    loss = learned._loss(batch)

    expected = dice_by_hand(learned.network(batch["image"]), OUTPUT.target(batch["label"]))
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)


def test_the_discriminator_judges_image_and_label_map_patch_by_patch():
    learned = module(partial(PatchDiscriminator, spatial_dims=3, channels=2, num_layers_d=1)).eval()
    image, mask = torch.randn(2, 1, 24, 32, 40), torch.rand(2, 3, 24, 32, 40)

    scores = learned.judge(image, mask)

    assert scores.shape == (2, 1, 10, 14, 18)
    # Score k sees the 16 voxels from 2 k - 5 on: kernels of 4, 4 and 4, the first in steps of 2, all padded by 1.
    for shown in (image, mask):
        shown[..., 20] += 1
        changed = (learned.judge(image, mask) != scores).nonzero()[:, 4]
        shown[..., 20] -= 1
        assert set(changed.tolist()) == {k for k in range(18) if 2 * k - 5 <= 20 < 2 * k - 5 + 16}


@pytest.mark.slow
def test_a_generator_learns_to_segment_against_its_discriminator(tmp_path):
    adam = partial(Adam, lr=1e-2, betas=(0.5, 0.999))

    learned, _ = trained(tmp_path, batches=80, optimizer=adam, discriminator_optimizer=adam)

    shown = sample(500)
    found, wanted = learned.eval().network(shown["image"][None]).argmax(dim=1) > 0, shown["label"] > 0
    assert 2 * (found & wanted).sum() / (found.sum() + wanted.sum()) > 0.8


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_refused_are_the_images_that_torch_would_choke_on(layers):
    discriminator = PatchDiscriminator(spatial_dims=3, channels=1, in_channels=1, num_layers_d=layers, norm=None)
    for side in range(1, 30):
        fits = side >= 3 * 2**layers
        size = (32, side, 32)
        if fits:
            refuse_small_images(discriminator, size)
            assert discriminator(torch.zeros(1, 1, *size))[-1].numel() > 0
        else:
            with pytest.raises(InputError, match=r"too small for .* convolutions: enlarge model\.roi_size"):
                refuse_small_images(discriminator, size)


class TestRefusals:
    def test_a_loss_of_confidences(self):
        with pytest.raises(InputError, match="judges patches: choose loss=generalized_dice, or model=msalds"):
            module(loss=DifficultyLoss(dice=DiceLoss(sigmoid=True)))

    @pytest.mark.parametrize("weight", [-1, "abc"])
    def test_what_is_no_weight(self, weight):
        with pytest.raises(InputError, match=rf"model\.segmentation_weight={weight} is no weight: give a number of 0"):
            module(segmentation_weight=weight)
