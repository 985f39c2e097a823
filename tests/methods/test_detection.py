from functools import partial
from types import SimpleNamespace

import pytest
import torch
from monai.inferers import SimpleInferer
from monai.losses import DiceCELoss
from torch.optim import SGD
from torch.optim.lr_scheduler import ConstantLR

from kidney_lab.data.instances import batch_instances
from kidney_lab.errors import InputError
from kidney_lab.losses.detection import DetectionLoss
from kidney_lab.methods.detection import DetectionSegmentation, detected, region_maps
from kidney_lab.methods.output import RegionOutput
from kidney_lab.methods.supervised import SupervisedSegmentation
from kidney_lab.networks.mask_activation import own_region, region_probabilities
from kidney_lab.networks.slice_rois import paste
from tests.networks.test_mask_rcnn import network, squares

OUTPUT = RegionOutput(["kidney", "tumor"], ["kidney_and_mass", "tumor"])
PARTS = {"optimizer": partial(SGD, lr=0.5), "scheduler": partial(ConstantLR, factor=1.0), "output": OUTPUT}


def module(*, loss=None, warmup_steps=0, weights="none", min_pixels=16, **arguments) -> DetectionSegmentation:
    made = DetectionSegmentation(
        network=network(**arguments),
        loss=loss or DetectionLoss(),
        warmup_steps=warmup_steps,
        weights=weights,
        min_pixels=min_pixels,
        **PARTS,
    )
    made.logged = {}
    made.log = lambda name, value, **_: made.logged.update({name: float(value)})
    made.log_dict = lambda values, **_: made.logged.update({name: float(value) for name, value in values.items()})
    return made


def batch():
    image, label = squares()
    return {"image": image, "label": label}


def test_training_logs_every_loss_and_their_sum():
    learned, given = module(), batch()
    torch.manual_seed(1)
    loss = learned.training_step(given, 0)

    torch.manual_seed(1)
    expected = learned.network.losses(given["image"], batch_instances(given["label"]))

    parts = {name: learned.logged[f"train/{name}"] for name in expected}
    assert parts == pytest.approx({name: float(value) for name, value in expected.items()})
    assert loss.requires_grad
    assert learned.logged["train/loss"] == pytest.approx(sum(parts.values()))


@pytest.mark.parametrize(("smallest", "labels"), [(144, [1, 2]), (145, [1]), (901, [])])
def test_instances_have_at_least_as_many_pixels_as_it_asks_for(smallest, labels):
    given = batch()  # kidney regions of 900 pixels, tumors of 144

    assert [one["labels"].tolist() for one in module(min_pixels=smallest)._instances(given)] == [labels, labels]


def test_validation_leaves_the_weights_and_the_random_numbers_as_they_are_and_always_says_the_same():
    learned, given = module(box_score_thresh=0.2).eval(), batch()
    before = {name: value.clone() for name, value in learned.state_dict().items()}
    seen = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        with torch.inference_mode():
            learned.validation_step(given, 0, 0)
        assert torch.equal(torch.get_rng_state(), state)
        seen.append(learned.logged["val_patch/loss"])

    assert seen[0] == seen[1] > 0
    assert all(torch.equal(value, before[name]) for name, value in learned.state_dict().items())


def test_average_precision_is_1_for_the_reference_and_0_for_nothing(monkeypatch):
    given = batch()
    targets = batch_instances(given["label"])
    for n, expected in ((None, 1.0), (0, 0.0)):
        learned = module().eval()
        found = [
            {"boxes": t["boxes"][:n], "labels": t["labels"][:n], "scores": torch.ones(len(t["boxes"][:n]))}
            for t in targets
        ]
        masks = [t["masks"][:n].bool() for t in targets]
        shown = iter([{**one, "masks": own} for one, own in zip(found, masks, strict=True)])
        monkeypatch.setattr("kidney_lab.methods.detection.detected", lambda *_, shown=shown: next(shown))
        monkeypatch.setattr(learned, "forward", lambda image: [None] * len(image))

        learned.validation_step(given, 0, 0)
        learned.on_validation_epoch_end()

        names = [f"val_patch/{what}_ap{at}" for what in ("box", "mask") for at in ("", "_50")]
        assert [learned.logged[name] for name in names] == pytest.approx([expected] * 4)


def test_average_precision_without_any_instance_is_undefined():
    learned, given = module().eval(), batch()
    given["label"].zero_()
    with torch.no_grad():
        learned.validation_step(given, 0, 0)
    learned.on_validation_epoch_end()

    assert torch.tensor(learned.logged["val_patch/mask_ap"]).isnan()


def test_a_region_is_where_its_surest_mask_says_so():
    model = network(box_score_thresh=0.2).eval()
    image, _ = squares()
    with torch.no_grad():
        found = model(image)[0]
        maps = region_maps(found, (64, 64), model)

    pasted = paste(
        own_region(region_probabilities(found["mask_logits"], "sigmoid"), found["labels"]), found["boxes"], (64, 64)
    )
    assert len(found["labels"]) > 1
    for number in (1, 2):
        own = pasted[found["labels"] == number, 0]
        expected = own.amax(dim=0) if len(own) else torch.zeros(64, 64)
        assert torch.equal(maps[number - 1], expected)
    assert torch.equal(detected(found, (64, 64), model)["masks"], pasted[:, 0] > 0.5)


@pytest.mark.parametrize("inferer", [None, SimpleInferer()])
def test_it_infers_the_regions_of_every_slice(inferer):
    learned = module(box_score_thresh=0.2).eval()
    learned.inferer = inferer
    image, _ = squares()

    found = learned.infer(image)

    with torch.no_grad():
        expected = [region_maps(one, (64, 64), learned.network) for one in learned.network(image)]
    assert found.shape == (2, 2, 64, 64)
    assert torch.equal(found, torch.stack(expected))


def test_a_slice_without_a_detection_is_background():
    learned = module(box_score_thresh=0.999).eval()
    image, _ = squares()

    found = learned.infer(image)

    assert found.shape == (2, 2, 64, 64)
    assert not found.any()


def test_the_rate_rises_over_the_first_steps_and_is_the_scheduler_s_otherwise(monkeypatch):
    learned, rates = module(warmup_steps=4), []
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    take = lambda *arguments: rates.append(optimizer.param_groups[0]["lr"])  # noqa: E731
    monkeypatch.setattr(SupervisedSegmentation, "optimizer_step", take, raising=False)
    for step in range(6):
        monkeypatch.setattr(DetectionSegmentation, "trainer", SimpleNamespace(global_step=step))
        learned.optimizer_step(0, step, optimizer)

    assert rates == [0.125, 0.25, 0.375, 0.5, 0.5, 0.5]
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_weights_are_loaded_when_a_training_begins(tmp_path):
    donor = network(box_score_thresh=0.3)
    with torch.no_grad():
        donor.rpn.head.conv[0][0].bias.fill_(7.0)
    torch.save(donor.state_dict(), tmp_path / "weights.pt")
    learned = module(weights=str(tmp_path / "weights.pt"))

    learned.load_pretrained()

    assert (learned.network.rpn.head.conv[0][0].bias == 7).all()
    with pytest.raises(InputError, match="is no file: name one, or choose none, imagenet or coco"):
        module(weights="nowhere.pt").load_pretrained()


def test_losses_and_modules_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="DiceCELoss is no loss of a detector: choose loss=mask_rcnn"):
        module(loss=DiceCELoss())
    with pytest.raises(InputError, match=r"this stage has none: choose loss=dice_ce, or model=ernet"):
        SupervisedSegmentation(network=network(), loss=DetectionLoss(), **PARTS)
