from collections import Counter
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from monai.inferers import SimpleInferer
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from kidney_lab.data.instances import DETECTED
from kidney_lab.errors import InputError
from kidney_lab.methods.output import RegionOutput
from kidney_lab.methods.refit import SoftmaxRefit
from kidney_lab.methods.refit_pixels import PixelReservoir, RoiPixels
from kidney_lab.methods.softmax_refit import SoftmaxRefitSegmentation
from kidney_lab.networks.ernet import ERNet, RoiMaps, region_masks
from tests.networks.test_mask_rcnn import network, squares

OUTPUT = RegionOutput(["kidney", "tumor"], list(DETECTED))


def ernet(*, iterations=50, box_score_thresh=0.2, **settings) -> ERNet:
    detector = network(box_score_thresh=box_score_thresh)
    refits = [SoftmaxRefit(region, iterations=iterations) for region in DETECTED]
    return ERNet(detector=detector, refits=refits, **settings)


def module(*, max_pixels=2000, **settings) -> SoftmaxRefitSegmentation:
    made = SoftmaxRefitSegmentation(network=ernet(**settings), output=OUTPUT, max_pixels=max_pixels)
    made.logged = {}
    made.log = lambda name, value, **_: made.logged.update({name: float(value)})
    made.log_dict = lambda values, **_: made.logged.update({name: float(value) for name, value in values.items()})
    return made


def batch(seed=0) -> dict:
    image, label = squares(seed)
    return {"image": image, "label": label, "case": [f"case_{seed:05d}", "case_00099"]}


def rois(label: int, *planes) -> RoiMaps:
    inside, probability, heat = (torch.as_tensor(plane)[None] for plane in planes)
    return RoiMaps(torch.tensor([label]), inside.bool(), probability.float(), heat.float())


def test_it_gathers_the_pixels_of_each_class_s_rois():
    learned, given = module(), batch()
    expected = {region: PixelReservoir(2000) for region in DETECTED}
    with torch.no_grad():
        found = learned.network.rois(given["image"], given["label"])
    for case, own, image, label in zip(given["case"], found, given["image"], given["label"], strict=True):
        masks = region_masks(label[0])
        for number, region in enumerate(DETECTED):
            for k in (own.labels == number + 1).nonzero().flatten():
                where = own.inside[k]
                columns = (own.probability[k], own.heat[k], image[0], masks[number])
                expected[region].add(case, RoiPixels(*(column[where] for column in columns)))

    learned.gather(given)

    assert sum(len(expected[region].sample().label) for region in DETECTED) > 100
    for region in DETECTED:
        for column, wanted in zip(learned.reservoirs[region].sample(), expected[region].sample(), strict=True):
            assert torch.equal(column, wanted)


def test_it_fits_each_class_to_its_pixels_and_says_what_is_left_of_the_error():
    learned, given = module(), batch()
    learned.gather(given)
    samples = {region: learned.reservoirs[region].sample() for region in DETECTED}

    loss = learned.fit()

    ends = []
    for region, refit in zip(DETECTED, learned.network.refits, strict=True):
        reference = SoftmaxRefit(region, iterations=50)
        losses = reference.fit(samples[region])
        assert all(torch.equal(value, refit.state_dict()[name]) for name, value in reference.state_dict().items())
        if len(losses):
            assert learned.logged[f"train/first_error_{region}"] == pytest.approx(float(losses[0]))
            assert learned.logged[f"train/error_{region}"] == pytest.approx(float(losses[-1]))
            ends.append(float(losses[-1]))
    assert ends
    assert learned.record()["fitted"] == {refit.region: bool(refit.fitted) for refit in learned.network.refits}
    assert any(learned.record()["fitted"].values())
    assert float(loss) == pytest.approx(sum(ends) / len(ends))


def test_it_says_how_much_of_the_border_has_no_heat(monkeypatch):
    learned = module()
    label = torch.zeros(1, 1, 6, 6, dtype=torch.uint8)
    label[0, 0, 1:5, 1:5] = 1  # a border of 12 pixels, 9 of them in the RoI, 3 of these without heat
    inside, heat = torch.ones(6, 6), torch.ones(6, 6)
    inside[4, :] = 0  # takes 4 away
    inside[3, 1] = 1
    heat[1, 1:4] = 0
    given = {"image": torch.zeros(1, 1, 6, 6), "label": label, "case": ["a"]}
    monkeypatch.setattr(learned.network, "rois", lambda *_: [rois(1, inside, torch.full((6, 6), 0.5), heat)])

    learned.gather(given)
    learned.fit()

    assert learned.logged["train/border_without_heat_kidney_and_mass"] == pytest.approx(3 / 8)
    assert "train/border_without_heat_tumor" not in learned.logged


def test_a_detector_that_finds_nothing_keeps_its_probabilities():
    learned, given = module(box_score_thresh=0.999), batch()
    learned.gather(given)

    assert learned.fit() == 0
    assert not any(refit.fitted for refit in learned.network.refits)
    assert learned.record() == {"fitted": {"kidney_and_mass": False, "tumor": False}}
    assert not learned.infer(given["image"]).any()


@pytest.mark.parametrize("inferer", [None, SimpleInferer()])
def test_inference_is_the_network_s_and_is_explained_by_heat_and_probabilities(inferer):
    learned, given = module(), batch()
    learned.inferer = inferer
    learned.gather(given)
    learned.fit()
    image = given["image"]

    answer, explained = learned.infer(image), learned.explain(image)

    with torch.no_grad():
        assert torch.equal(answer, learned.network(image))
        assert explained.shape == (2, 6, 64, 64)
        heat, before, after = explained.split(2, dim=1)
        for number, own in enumerate(learned.network.rois(image)):
            for channel in (0, 1):
                chosen = own.labels == channel + 1
                if chosen.any():
                    assert torch.equal(heat[number, channel], (own.heat * own.inside)[chosen].amax(dim=0))
                    assert torch.equal(before[number, channel], own.probability[chosen].amax(dim=0))
    assert torch.equal(after, answer)
    assert not torch.equal(after, before)


def test_the_validation_loss_is_half_the_mean_squared_error_before_and_after():
    learned, given = module(), batch()
    learned.gather(given)
    learned.fit()

    learned.validation_step(given, 0, 0)

    target = OUTPUT.target(given["label"])
    _, before, after = learned.explain(given["image"]).split(2, dim=1)
    assert learned.logged["val_patch/loss"] == pytest.approx(float((after - target).square().mean() / 2))
    assert learned.logged["val_patch/loss_before"] == pytest.approx(float((before - target).square().mean() / 2))


def test_it_takes_the_weights_of_the_stage_that_trained_the_detector():
    learned, donor = module(), network()
    with torch.no_grad():
        donor.rpn.head.conv[0][0].bias.fill_(7.0)
    state = {f"network.{name}": value for name, value in donor.state_dict().items()}

    learned.load_contained({**state, "average_precision.count": torch.zeros(1)})

    assert (learned.network.detector.rpn.head.conv[0][0].bias == 7).all()


def test_pixels_without_room_are_refused():
    with pytest.raises(InputError, match=r"model\.refit\.max_pixels=1 is too small"):
        module(max_pixels=1)


def trained(folder, *, name="last", epochs=1):
    learned = SoftmaxRefitSegmentation(network=ernet(), output=OUTPUT, max_pixels=2000)
    before = {key: value.clone() for key, value in learned.network.detector.state_dict().items()}
    saved = ModelCheckpoint(dirpath=folder, filename=name, save_on_train_epoch_end=True)
    trainer = pl.Trainer(
        max_epochs=epochs,
        logger=False,
        callbacks=[saved],
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    slices = [{key: value[k] for key, value in batch(seed).items()} for seed in (0, 1) for k in (0, 1)]
    trainer.fit(learned, DataLoader(slices, batch_size=2))
    return learned, before, trainer


def test_one_epoch_fits_and_leaves_a_checkpoint_and_the_detector_as_it_was(tmp_path):
    learned, before, trainer = trained(tmp_path)

    state = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert trainer.global_step == 1
    assert any(refit.fitted for refit in learned.network.refits)
    assert all(torch.equal(value, before[name]) for name, value in learned.network.detector.state_dict().items())
    assert all(torch.equal(value, state[name]) for name, value in learned.state_dict().items())
    assert trainer.callback_metrics["train/loss"] > 0


def test_ranks_put_their_pixels_together(monkeypatch):
    learned = module()
    learned.gather(batch())
    own = learned.reservoirs["kidney_and_mass"].sample()
    other = RoiPixels(*(column.flip(0) for column in own))
    border = Counter({("tumor", "all"): 6, ("tumor", "cold"): 3})
    fitted, told = [], {}
    monkeypatch.setattr("kidney_lab.process_group.distributed", SimpleNamespace(
        is_available=lambda: True,
        is_initialized=lambda: True,
        get_rank=lambda: 0,
        get_world_size=lambda: 2,
        all_gather_object=lambda parts, mine: parts.__setitem__(
            slice(None), [mine, other if isinstance(mine, RoiPixels) else border]
        ),
    ))  # fmt: skip
    for refit in learned.network.refits:
        monkeypatch.setattr(refit, "fit", lambda pixels: fitted.append(pixels) or torch.empty(0))
    monkeypatch.setattr(learned, "_tell", told.__setitem__)
    learned._border = Counter({("tumor", "all"): 2, ("kidney_and_mass", "all"): 5})

    learned.fit()
    learned._start()

    assert torch.equal(fitted[0].heat, torch.cat([own.heat, other.heat]))
    assert told == {"border_without_heat_kidney_and_mass": 0.0, "border_without_heat_tumor": 3 / 8}
    assert learned.reservoirs["tumor"]._budget == 1000
