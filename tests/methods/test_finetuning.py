from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from monai.losses import DiceLoss
from omegaconf import OmegaConf
from torch import nn
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import ConstantLR
from torch.utils.data import DataLoader

from kidney_lab.composition.resolvers import register_resolvers
from kidney_lab.composition.search_path import config_folder
from kidney_lab.data.views.window import whole
from kidney_lab.errors import InputError
from kidney_lab.methods.finetuning import FinetunedSegmentation
from kidney_lab.methods.output import RegionOutput
from kidney_lab.methods.prediction import Prediction

SHAPE = (2, 8, 8)
OUTPUT = {"labels": ["kidney", "tumor"], "regions": ["kidney_and_mass"]}

pytestmark = pytest.mark.filterwarnings("ignore")


class Network(nn.Module):
    """An encoder with batch normalization and dropout, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Conv2d(4, 1, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(image))


def module(**settings) -> FinetunedSegmentation:
    torch.manual_seed(0)
    made = FinetunedSegmentation(
        **{
            "network": Network(),
            "encoder": "resnet18",
            "loss": DiceLoss(sigmoid=True),
            "optimizer": partial(Adam, lr=0.01),
            "scheduler": partial(ConstantLR, factor=1.0),
            "output": RegionOutput(**OUTPUT),
            "encoder_lr": 0.001,
            **settings,
        }
    )
    made.predict_case = lambda image, prior: Prediction.held(torch.zeros(1, *SHAPE), whole(SHAPE), SHAPE)
    return made


def sample(seed: int) -> dict:
    generator = torch.Generator().manual_seed(seed)
    label = (torch.rand((1, 8, 8), generator=generator) > 0.7).to(torch.uint8)
    return {"image": torch.rand((3, 8, 8), generator=generator), "label": label, "case": "a"}


class Seeded(pl.Callback):
    """Seeds every epoch, as the stages' callback does, so that dropout is the same after a resume."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        torch.manual_seed(trainer.current_epoch * 10 + batch_idx)


class States(pl.Callback):
    """Keeps the weights and statistics after every epoch, and whether the encoder had gradients."""

    def __init__(self) -> None:
        self.after: list[dict[str, torch.Tensor]] = []
        self.gradients: list[bool] = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        self.gradients.append(any(p.grad is not None for p in pl_module.network.encoder.parameters()))

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        self.after.append({name: value.clone() for name, value in pl_module.network.state_dict().items()})


def fit(learned, folder, *, epochs, resume=None, callbacks=()):
    states = States()
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=any(isinstance(callback, pl.callbacks.ModelCheckpoint) for callback in callbacks),
        callbacks=[Seeded(), states, *callbacks],
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    case = {"image": torch.zeros(1, *SHAPE), "label": torch.ones((1, *SHAPE), dtype=torch.uint8), "case": "a"}
    trainer.fit(
        learned,
        DataLoader([sample(k) for k in range(4)], batch_size=2),
        [DataLoader([sample(9)], batch_size=1), DataLoader([case], batch_size=None)],
        ckpt_path=resume,
        weights_only=True,
    )
    return trainer, states


def same(before, after, part):
    return {name: torch.equal(value, after[name]) for name, value in before.items() if name.startswith(part)}


def test_in_the_first_phase_the_encoder_stays_bit_for_bit_and_the_head_moves(tmp_path):
    learned = module(freeze_epochs=2)
    start = {name: value.clone() for name, value in learned.network.state_dict().items()}

    _, states = fit(learned, tmp_path, epochs=2)  # with a validation after each epoch

    for after in states.after:
        assert all(same(start, after, "encoder").values())  # the statistics of the batch normalization too
        assert not any(same(start, after, "head").values())
    assert not any(states.gradients)


def test_after_it_both_move_each_at_its_rate(tmp_path):
    learned = module(freeze_epochs=1, optimizer=partial(SGD, lr=0.1), encoder_lr=0.0)

    trainer, states = fit(learned, tmp_path, epochs=2)

    assert states.gradients == [False, False, True, True]
    assert all(same(*states.after, "encoder.0").values())  # at a rate of 0
    assert not any(same(*states.after, "encoder.1.running").values())
    assert not any(same(*states.after, "head").values())
    assert [group["lr"] for group in trainer.optimizers[0].param_groups] == [0.1, 0.0]

    _, states = fit(module(freeze_epochs=1), tmp_path, epochs=2)
    moved = same(*states.after, "encoder")
    assert not any(moved.values())


def test_frozen_statistics_stay_while_the_weights_learn(tmp_path):
    _, states = fit(module(batch_norm="frozen"), tmp_path, epochs=2)

    moved = {name.removeprefix("encoder."): not stays for name, stays in same(*states.after, "encoder").items()}
    assert {name for name, value in moved.items() if value} == {"0.weight", "0.bias", "1.weight", "1.bias"}


def test_the_head_alone_is_trained_to_the_end(tmp_path):
    learned = module(finetune="head")

    trainer, states = fit(learned, tmp_path, epochs=2)

    assert all(same(*states.after, "encoder").values())
    assert not any(same(*states.after, "head").values())
    assert float(trainer.callback_metrics["train/encoder_lr"]) == 0.0


def test_both_rates_are_logged(tmp_path):
    trainer, _ = fit(module(freeze_epochs=1), tmp_path, epochs=2)

    assert float(trainer.callback_metrics["lr"]) == pytest.approx(0.01)
    assert float(trainer.callback_metrics["train/encoder_lr"]) == pytest.approx(0.001)


@pytest.mark.parametrize("interrupted", [1, 2])  # in the first phase, and at its end
def test_a_resumed_training_is_the_same_across_the_phases(tmp_path, interrupted):
    _, uninterrupted = fit(module(freeze_epochs=2), tmp_path, epochs=4)
    last = pl.callbacks.ModelCheckpoint(tmp_path, filename="last", save_on_train_epoch_end=True)
    fit(module(freeze_epochs=2), tmp_path, epochs=interrupted, callbacks=[last])

    _, resumed = fit(module(freeze_epochs=2), tmp_path, epochs=4, resume=tmp_path / "last.ckpt")

    assert len(resumed.after) == 4 - interrupted
    assert all(same(uninterrupted.after[-1], resumed.after[-1], "").values())


def test_every_weight_is_in_one_group_and_a_checkpoint_holds_the_network_alone():
    learned = module()

    groups = learned.configure_optimizers()["optimizer"].param_groups

    found = [parameter for group in groups for parameter in group["params"]]
    assert len(found) == len(set(found)) == len(list(learned.network.parameters()))
    assert set(groups[1]["params"]) == set(learned.network.encoder.parameters())
    assert {name.split(".")[0] for name in learned.state_dict()} == {"network"}


SCHEDULERS = sorted(path.stem for path in (config_folder() / "scheduler").glob("*.yaml"))


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_moves_both_rates_by_the_same_factor(name):
    register_resolvers()
    scheduler = OmegaConf.load(config_folder() / "scheduler" / f"{name}.yaml")
    config = OmegaConf.create({"trainer": {"max_epochs": 10}, "scheduler": scheduler})
    made = module(scheduler=instantiate(config.scheduler)).configure_optimizers()
    optimizer, stepped = made["optimizer"], made["lr_scheduler"]["scheduler"]

    for _ in range(5):
        optimizer.step()
        stepped.step(*([1.0] if name == "plateau" else []))
        head, encoder = (group["lr"] for group in optimizer.param_groups)
        assert head == pytest.approx(10 * encoder)


def test_images_are_normalized_by_the_statistics_of_the_encoder_s_weights():
    seen = []
    learned = module()
    learned.network.forward = lambda image: seen.append(image) or image[:, :1]

    learned(torch.full((1, 3, 2, 2), 0.5))
    learned(torch.full((1, 1, 2, 2), 0.5))

    expected = [(0.5 - mean) / std for mean, std in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))]
    assert seen[0][0, :, 0, 0].tolist() == pytest.approx(expected)
    assert seen[1].flatten().tolist() == pytest.approx([(0.5 - 0.449) / 0.226] * 4)


def test_pretrained_weights_are_those_of_the_encoder(tmp_path):
    learned = module(weights=str(tmp_path / "weights.pth"))
    weights = {name: torch.ones_like(value) for name, value in learned.network.encoder.state_dict().items()}
    torch.save(weights | {"fc.weight": torch.zeros(2)}, tmp_path / "weights.pth")

    learned.load_pretrained()

    assert all((value == 1).all() for value in learned.network.encoder.state_dict().values())
    torch.save({**weights, "0.weight": torch.zeros(4, 3, 5, 5)}, tmp_path / "weights.pth")
    with pytest.raises(InputError, match=r"resnet18: its layer 0\.weight of shape \[4, 3, 3, 3\] is of shape"):
        learned.load_pretrained()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": None}, r"model\.encoder=None is no name of an encoder: give one, such as resnet50"),
        ({"finetune": "some"}, r"model\.finetune=some is unknown: choose all or head"),
        ({"batch_norm": "group"}, r"model\.batch_norm=group is unknown: choose train or frozen"),
        ({"freeze_epochs": -1}, r"model\.freeze_epochs=-1 is no count"),
        ({"freeze_epochs": 1.5}, r"model\.freeze_epochs=1\.5 is no count"),
        ({"encoder_lr": "low"}, r"model\.encoder_lr=low is no learning rate"),
        ({"encoder_lr": -0.1}, r"model\.encoder_lr=-0\.1 is no learning rate"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        module(**settings)
