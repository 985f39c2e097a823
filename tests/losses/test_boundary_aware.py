import pytest
import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from monai.losses import DeepSupervisionLoss

from kidney_lab.composition.resolvers import halving, register_resolvers
from kidney_lab.composition.search_path import config_folder, register_experiments
from kidney_lab.errors import InputError
from kidney_lab.losses.boundary_aware import BoundaryAwareLoss
from kidney_lab.losses.generalized_dice import generalized_dice
from kidney_lab.losses.surface_dice import soft_surface_dice

SHAPE = (8, 12, 16)
LEVELS = [SHAPE, (4, 6, 8), (2, 3, 4)]


def sphere(shape=SHAPE, radius=3.0):
    """Mask (*shape) of a ball in the middle."""
    axes = [torch.arange(size) - (size - 1) / 2 for size in shape]
    return sum(axis**2 for axis in torch.meshgrid(*axes, indexing="ij")) <= radius**2


def labels_target(batch=2, classes=3):
    """One-hot (batch, classes, 8, 12, 16): background, a ball, a smaller ball inside it."""
    label = sphere().long() + sphere(radius=1.6).long()
    return F.one_hot(label.expand(batch, *SHAPE), classes).movedim(-1, 1).float()


def regions_target(batch=2):
    """(batch, 2, 8, 12, 16): a ball, and a smaller ball inside it."""
    return torch.stack([sphere(), sphere(radius=1.6)]).float().expand(batch, -1, *SHAPE)


def random_logits(classes, *, batch=2, shape=SHAPE, seed=0):
    return torch.randn((batch, classes, *shape), generator=torch.Generator().manual_seed(seed))


def certain(target):
    return (target - 0.5) * 200


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize(("form", "weight"), [("nikolov", 0.5), ("thesis", 0.2)])
def test_of_labels_it_is_one_minus_the_weighted_mean_of_both_dice(batch, form, weight):
    logits, target = random_logits(3), labels_target()
    settings = {"tolerance_voxels": [1, 2, 2], "surface_form": form, "surface_weight": weight}

    given = BoundaryAwareLoss(softmax=True, batch=batch, **settings)(logits, target)

    volume = generalized_dice(logits.softmax(1), target, batch=batch).mean()
    surface = soft_surface_dice(logits.softmax(1), target, radius=(1, 2, 2), form=form, batch=batch).mean()
    torch.testing.assert_close(given, 1 - (1 - weight) * volume - weight * surface)


def test_of_regions_what_no_region_covers_counts_as_a_class_of_the_generalised_dice():
    logits, target = random_logits(2), regions_target()

    given = BoundaryAwareLoss(sigmoid=True, batch=True)(logits, target)

    outside = 1 - torch.stack([logits.sigmoid().amax(1), target.amax(1)])
    with_outside = [torch.cat([outside[place][:, None], channels], 1) for place, channels in
                    enumerate([logits.sigmoid(), target])]  # fmt: skip
    volume = generalized_dice(*with_outside, batch=True)
    surface = soft_surface_dice(logits.sigmoid(), target, batch=True).mean()
    torch.testing.assert_close(given, 1 - (volume + surface) / 2)


def test_the_background_can_be_left_out_of_labels():
    logits, target = random_logits(3), labels_target()

    given = BoundaryAwareLoss(softmax=True, include_background=False)(logits, target)

    foreground = logits.softmax(1)[:, 1:]
    volume = generalized_dice(foreground, target[:, 1:]).mean()
    surface = soft_surface_dice(foreground, target[:, 1:]).mean()
    torch.testing.assert_close(given, 1 - (volume + surface) / 2)


@pytest.mark.parametrize("batch", [False, True])
def test_a_perfect_prediction_costs_nothing(batch):
    labels, regions = labels_target(), regions_target()

    assert float(BoundaryAwareLoss(softmax=True, batch=batch)(certain(labels), labels)) == pytest.approx(0, abs=1e-6)
    assert float(BoundaryAwareLoss(sigmoid=True, batch=batch)(certain(regions), regions)) == pytest.approx(0, abs=1e-6)


def test_a_wrong_prediction_costs_one():
    far, target = torch.zeros(1, 1, 4, 4, 20), torch.zeros(1, 1, 4, 4, 20)
    far[..., :2], target[..., -2:] = 1.0, 1.0

    assert float(BoundaryAwareLoss()(far, target)) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("settings", [{"softmax": True}, {"sigmoid": True}])
@pytest.mark.parametrize("batch", [False, True])
def test_nothing_predicted_where_there_is_nothing_costs_nothing(settings, batch):
    target = torch.zeros(2, 3, *SHAPE)
    target[:, 0] = 1.0 if "softmax" in settings else 0.0
    logits = certain(target).requires_grad_()

    loss = BoundaryAwareLoss(batch=batch, **settings)(logits, target)
    loss.backward()

    assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(("settings", "foreground"), [({"softmax": True}, slice(1, None)), ({"sigmoid": True}, ...)])
def test_a_batch_of_background_alone_pushes_false_positives_down(settings, foreground):
    target = torch.zeros(2, 3, *SHAPE)
    target[:, 0] = 1.0 if "softmax" in settings else 0.0
    logits = random_logits(3).requires_grad_()

    BoundaryAwareLoss(batch=True, **settings)(logits, target).backward()

    # A descent of the gradient, of which a voxel's mean share is 1 / voxels, lowers what is predicted.
    assert float(logits.grad[:, foreground].sum()) > 0.01


@pytest.mark.parametrize("settings", [{"softmax": True}, {"sigmoid": True}])
def test_cross_entropy_is_added_by_its_weight(settings):
    logits = random_logits(3)
    target = labels_target() if "softmax" in settings else labels_target()[:, [1, 2, 2]]

    without, given = (BoundaryAwareLoss(ce=weight, **settings)(logits, target) for weight in (0.0, 0.7))

    log_p = logits.log_softmax(1) if "softmax" in settings else F.logsigmoid(logits)
    losses = (
        -(target * log_p).sum(1) if "softmax" in settings else -(target * log_p + (1 - target) * F.logsigmoid(-logits))
    )
    torch.testing.assert_close(given - without, 0.7 * losses.mean())


def test_slices_take_the_last_two_of_the_tolerance():
    logits, target = random_logits(3)[:, :, 4], labels_target()[:, :, 4]

    given = BoundaryAwareLoss(softmax=True, tolerance_voxels=(4, 3, 1))(logits, target)

    volume = generalized_dice(logits.softmax(1), target).mean()
    surface = soft_surface_dice(logits.softmax(1), target, radius=(3, 1)).mean()
    torch.testing.assert_close(given, 1 - (volume + surface) / 2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("settings", [{"softmax": True}, {"sigmoid": True}])
def test_half_precision_is_computed_in_full(dtype, settings):
    # 600 000 voxels: their sum is more than float16 holds.
    logits, target = random_logits(2, shape=(32, 96, 96)).to(dtype), torch.zeros(2, 2, 32, 96, 96)
    target[:, 0, 8:, 8:] = 1.0
    target[:, 1, :8, :8] = 1.0
    loss = BoundaryAwareLoss(ce=1.0, batch=True, **settings)

    given = loss(logits, target.to(dtype))

    assert given.dtype == torch.float32
    torch.testing.assert_close(given, loss(logits.float(), target))


def test_autocast_changes_nothing():
    logits, target = random_logits(3), labels_target()
    loss = BoundaryAwareLoss(softmax=True, ce=1.0)

    with torch.autocast("cpu", torch.bfloat16):
        given = loss(logits, target)

    torch.testing.assert_close(given, loss(logits, target))


@pytest.mark.parametrize("settings", [{"softmax": True}, {"sigmoid": True}])
def test_gradients_are_right(settings):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((1, 2, 3, 4, 4), generator=generator, dtype=torch.float64).requires_grad_()
    target = F.one_hot((torch.rand((1, 3, 4, 4), generator=generator) > 0.5).long(), 2).movedim(-1, 1).double()
    loss = BoundaryAwareLoss(ce=0.5, **settings)

    assert torch.autograd.gradcheck(lambda values: loss(values, target), (logits,))


@pytest.mark.parametrize(("form", "settings"), [("nikolov", {"softmax": True}), ("thesis", {"sigmoid": True})])
def test_descent_finds_a_small_sphere_from_random_logits(form, settings):
    ball = sphere(radius=2.0).float()[None, None]
    target = torch.cat([1 - ball, ball], 1) if "softmax" in settings else ball
    logits = random_logits(target.shape[1], batch=1).requires_grad_()
    loss = BoundaryAwareLoss(surface_form=form, batch=True, **settings)
    optimizer = torch.optim.SGD([logits], lr=200.0, momentum=0.9)

    values = []
    for _ in range(200):
        optimizer.zero_grad()
        value = loss(logits, target)
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))

    assert values[0] > 0.7
    assert values[-1] < values[30] < values[0]
    assert values[-1] < 0.2


def test_surface_dice_alone_does_not_see_a_sphere_far_away():
    target, logits = sphere()[None, None].float(), torch.zeros(1, 1, *SHAPE)
    for weight, moves in ((1.0, False), (0.5, True)):
        logits = torch.zeros(1, 1, *SHAPE, requires_grad=True)

        BoundaryAwareLoss(sigmoid=True, surface_weight=weight)(logits, target).backward()

        assert bool(logits.grad.abs().max() > 1e-6) is moves


class TestDeepSupervision:
    weights = halving(len(LEVELS))

    @pytest.mark.parametrize("settings", [{"softmax": True}, {"sigmoid": True}])
    def test_it_is_the_hand_weighted_sum_over_levels(self, settings):
        target = labels_target() if "softmax" in settings else labels_target()[:, [1, 2, 2]]
        logits = [random_logits(3, shape=shape) for shape in LEVELS]
        loss = BoundaryAwareLoss(batch=True, **settings)

        given = DeepSupervisionLoss(loss, weights=self.weights)(logits, target)

        # nearest-exact halves an axis by taking the second of every two voxels
        targets = [target, target[:, :, 1::2, 1::2, 1::2], target[:, :, 2::4, 2::4, 2::4]]
        expected = 4 / 7 * loss(logits[0], targets[0])
        expected = expected + 2 / 7 * loss(logits[1], targets[1]) + 1 / 7 * loss(logits[2], targets[2])
        torch.testing.assert_close(given, expected)

    def test_the_weights_sum_to_one(self):
        logits = [torch.zeros(2, 3, *shape) for shape in LEVELS]

        class One(torch.nn.Module):
            def forward(self, input, target):
                return torch.ones(())

        assert float(DeepSupervisionLoss(One(), weights=self.weights)(logits, labels_target())) == pytest.approx(1.0)

    def test_with_the_finest_level_alone_it_is_no_deep_supervision(self):
        target, logits = labels_target(), [random_logits(3, shape=shape).requires_grad_() for shape in LEVELS]
        loss = BoundaryAwareLoss(softmax=True)
        plain = loss(logits[0], target)
        (wanted,) = torch.autograd.grad(plain, logits[0])

        for weights, levels in (([1.0, 0.0, 0.0], logits), ([1.0], logits[:1])):
            given = DeepSupervisionLoss(loss, weights=weights)(levels, target)
            (gradient,) = torch.autograd.grad(given, logits[0])
            torch.testing.assert_close(given, plain)
            torch.testing.assert_close(gradient, wanted)
        torch.testing.assert_close(DeepSupervisionLoss(loss, weights=[1.0])(logits[0], target), plain)

    def test_a_level_of_single_voxels_is_no_obstacle(self):
        logits = [random_logits(3, shape=shape).requires_grad_() for shape in (SHAPE, (1, 1, 1))]

        value = DeepSupervisionLoss(BoundaryAwareLoss(softmax=True), weights=halving(2))(logits, labels_target())
        value.backward()

        assert value.isfinite()
        assert all(level.grad.isfinite().all() for level in logits)


class TestConfig:
    def composed(self, *overrides):
        register_resolvers()
        register_experiments()
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            return compose("config", overrides=["loss=boundary_aware", *overrides])

    @pytest.mark.parametrize(("output", "target"), [("labels", labels_target()), ("regions", regions_target())])
    def test_it_suits_both_outputs(self, output, target):
        config = self.composed(f"model.output={output}", "data=kits19", "data.root=x")

        loss = instantiate(config.loss, _convert_="all")

        assert loss.radius == (1, 1, 1)
        assert float(loss(certain(target), target)) == pytest.approx(0, abs=1e-6)
        assert float(loss(certain(target.roll(8, dims=-1)), target)) > 0.5

    @pytest.mark.parametrize(("given", "radius"), [("2", (2, 2, 2)), ("[1,2,3]", (1, 2, 3)), ("0", (0, 0, 0))])
    def test_the_tolerance_is_that_of_every_stage_in_its_own_voxels(self, given, radius):
        config = self.composed("model=cascade_unet", f"loss.tolerance_voxels={given}")

        for stage in ("coarse", "fine"):
            loss = instantiate(config.model.stages[stage].module.loss, _convert_="all").loss
            assert loss.radius == radius

    def test_cross_entropy_is_one_override_away(self):
        assert instantiate(self.composed("loss.ce=1").loss, _convert_="all").ce == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"softmax": True, "sigmoid": True}, r"loss\.sigmoid and loss\.softmax are both true"),
        ({"ce": 1.0}, r"loss\.ce=1\.0 must be 0 or more, and above 0 needs logits"),
        ({"ce": -1.0, "softmax": True}, r"loss\.ce=-1\.0 must be 0 or more"),
        ({"surface_form": "hausdorff"}, r"loss\.surface_form=hausdorff is unknown: choose one of nikolov, thesis"),
        ({"w_type": "cubic"}, r"loss\.w_type=cubic is unknown: choose one of square, simple, uniform"),
        ({"tolerance_voxels": -1}, r"loss\.tolerance_voxels=-1 is no tolerance: give a whole number from 0 on, or thr"),
        ({"tolerance_voxels": 1.5}, r"loss\.tolerance_voxels=1\.5 is no tolerance"),
        ({"tolerance_voxels": True}, r"loss\.tolerance_voxels=True is no tolerance"),
        ({"tolerance_voxels": "all"}, r"loss\.tolerance_voxels=all is no tolerance"),
        ({"tolerance_voxels": [1, 2]}, r"loss\.tolerance_voxels=\[1, 2\] is no tolerance"),
        ({"batch": "no"}, r"^loss\.batch=no is no switch: give true or false\.$"),
        ({"include_background": "off"}, r"^loss\.include_background=off is no switch"),
        ({"softmax": 1}, r"^loss\.softmax=1 is no switch"),
        ({"sigmoid": None}, r"^loss\.sigmoid=None is no switch"),
        ({"surface_weight": 1.5}, r"loss\.surface_weight=1\.5 must lie in 0 to 1"),
    ],
)
def test_a_wrong_value_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        BoundaryAwareLoss(**settings)


def test_shapes_that_differ_are_refused():
    with pytest.raises(InputError, match=r"got logits \(2, 3, 8, 12, 16\) and a target \(2, 2, 8, 12, 16\)"):
        BoundaryAwareLoss(softmax=True)(random_logits(3), regions_target())


def test_a_single_channel_cannot_do_without_its_background():
    with pytest.raises(InputError, match=r"nothing is left: set loss\.include_background=true"):
        BoundaryAwareLoss(sigmoid=True, include_background=False)(random_logits(1), regions_target()[:, :1])
