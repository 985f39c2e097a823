"""Networks that a method combines: of one region each, and those of members."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from monai.inferers import SimpleInferer
from monai.losses import DiceCELoss
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import ConstantLR

from kidney_lab.data.views import SliceRoiView, SliceView
from kidney_lab.errors import InputError
from kidney_lab.geometry import Volume, grid_from_spacing, reorient
from kidney_lab.inference import method as inference
from kidney_lab.inference.combine import NestedRegions
from kidney_lab.inference.ensemble import Ensemble
from kidney_lab.inference.method import TrainedMethod
from kidney_lab.inference.postprocessing import PostProcessing
from kidney_lab.methods.earlier import Earlier
from kidney_lab.methods.output import RegionOutput, build_output
from kidney_lab.methods.stage import Stage
from kidney_lab.methods.supervised import SupervisedSegmentation
from tests.support.threshold_methods import (
    EPOCH,
    SHAPE,
    SPACING,
    Threshold,
    cascade,
    method,
    scan,
    stage,
    tilted,
    trained,
)


class Above(nn.Module):
    """A network of slices whose channels say where the image is above one value each."""

    def __init__(self, *thresholds: float) -> None:
        super().__init__()
        self.sharpness = nn.Conv2d(1, 1, 1)
        self.thresholds = thresholds

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return 1000 * torch.cat([image - threshold for threshold in self.thresholds], dim=1)


class TestBinaryStages:
    """Three networks on slices, one for each region; the later ones look at squares about what was found before."""

    def stages(self, coarse=None) -> dict[str, Stage]:
        def made(regions, threshold, source=None, region=None) -> Stage:
            view = SliceView(size=(32, 32), **EPOCH)
            if source is not None:
                view = SliceRoiView(size=(32, 32), region=region, min_pixels=4, min_margin=4, **EPOCH)
            module = SupervisedSegmentation(
                network=Above(*threshold),
                loss=DiceCELoss(sigmoid=True),
                optimizer=partial(SGD, lr=0.1),
                scheduler=partial(ConstantLR, factor=1.0),
                output=RegionOutput(labels=["kidney", "tumor", "cyst"], regions=regions),
            )
            return replace(
                stage(),
                module=module,
                view=view,
                inferer=SimpleInferer(),
                earlier=None if source is None else Earlier(source, [], prior="none"),
            )

        return {
            "coarse": made(["kidney_and_mass", "mass"], coarse or (0.1, 0.2)),
            "kidney": made(["kidney_and_mass"], (0.1,), "coarse", "kidney_and_mass"),
            "mass": made(["mass"], (0.2,), "coarse", "mass"),
            "tumor": made(["tumor"], (0.3,), "mass", "mass"),
        }

    def method(self, nesting="union", **settings) -> TrainedMethod:
        regions = {"kidney_and_mass": "kidney", "mass": "mass", "tumor": "tumor"}
        return trained(self.stages(**settings), combination=NestedRegions(regions, nesting))

    def test_their_regions_lie_in_each_other_and_a_mass_that_is_no_tumor_is_a_cyst(self):
        image = scan()
        image[7:10, 16:21, 6:11] = 350  # a tumor; the mass above is a cyst now

        labels = self.method().segment(image, SPACING)

        wanted = (image > 100) * 1 + (image > 200) * 2 - (image > 300)
        for value in (1, 2, 3):
            inside, truth = labels == value, wanted == value
            assert 2 * (inside & truth).sum() / (inside.sum() + truth.sum()) > 0.75

    @pytest.mark.parametrize("nesting", ["union", "intersection"])
    def test_where_the_coarse_stage_finds_nothing_there_is_nothing_and_nothing_is_searched(self, nesting, caplog):
        assert not self.method(nesting, coarse=(9.0, 9.0)).segment(scan(), SPACING).any()
        assert "searches the whole scan" not in caplog.text

    def test_where_it_finds_no_mass_the_kidney_is_still_found(self):
        labels = self.method(coarse=(0.1, 9.0)).segment(scan(), SPACING)

        assert set(np.unique(labels)) == {0, 1}

    def test_all_of_them_are_told_and_those_without_kidneys_as_they_are(self):
        told = self.method().segment_in_stages(tilted((0, 0, 0)))

        assert list(told.earlier) == ["coarse", "kidney", "mass", "tumor"]
        mass = told.earlier["mass"]().array
        np.testing.assert_array_equal(mass > 0, np.isin(told.unprocessed.array, (2, 3)))
        assert not told.earlier["tumor"]().array.any()


class Shifted(Threshold):
    """Says a kidney with a probability that rises around another value, HU."""

    def __init__(self, middle: float) -> None:
        super().__init__()
        self.middle = middle

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.cat([image - self.middle / 1000, image - 9], dim=1) * 20


class TestMembers:
    """Methods that are members of another's ensemble."""

    def members(self, *middles, spacing=None, **settings) -> dict[str, TrainedMethod]:
        return {str(n): trained({"only": stage(spacing, network=Shifted(m))}) for n, m in enumerate(middles, start=1)}

    def test_one_member_gives_its_own_result_bit_for_bit(self):
        alone = trained(cascade((3.0, 1.9, 1.7)))

        ensemble = trained({}, members={"1": alone}, combination=Ensemble())

        assert ensemble.output is alone.stages["fine"].module.output
        expected = alone.segment_in_stages(tilted((4, 7, -11)))
        found = ensemble.segment_in_stages(tilted((4, 7, -11)))
        np.testing.assert_array_equal(found.labels.array, expected.labels.array)
        np.testing.assert_array_equal(found.unprocessed.array, expected.unprocessed.array)

    @pytest.mark.parametrize("orientation", ["IPL", "RAS", "PIR"])
    def test_members_on_grids_of_their_own_meet_on_the_scan(self, orientation):
        stored = reorient(tilted((4, 7, -11)), tuple(orientation))
        stages = {"a": stage(network=Shifted(50.0)), "b": stage((3.0, 1.9, 1.7), network=Shifted(150.0))}
        coarse = trained({"only": stage((4.0, 2.3, 2.3), network=Shifted(100.0))})

        method = trained(
            stages, members={"1": coarse}, combination=Ensemble(), postprocessing=PostProcessing("all", False)
        )
        found = method.segment_in_stages(stored)

        middle = trained({"only": stage(network=Shifted(100.0))}, postprocessing=PostProcessing("all", False))
        inside, truth = found.labels.array > 0, middle.segment_volume(stored).array > 0
        assert found.labels.grid is stored.grid
        assert 2 * (inside & truth).sum() / (inside.sum() + truth.sum()) > 0.9
        assert list(found.earlier) == ["a", "b"]
        assert list(found.members) == ["1"]
        np.testing.assert_array_equal(found.members["1"]().array, coarse.segment_volume(stored).array)

    def test_a_member_s_label_map_is_post_processed_as_it_does_itself_and_its_share_is_not(self):
        image = scan()
        image[1:3, 22:26, 18:22] = 250  # a tumor far from the kidney, which is dropped
        volume = Volume(image, grid_from_spacing(SHAPE, SPACING))
        clean, raw = method(), trained({"only": stage()}, postprocessing=PostProcessing("all", False))

        told = trained(
            {}, members={"1": clean, "2": raw}, combination=Ensemble(), postprocessing=PostProcessing("all", False)
        ).segment_in_stages(volume)

        assert [told.members[name]().array[1, 23, 19] for name in ("1", "2")] == [0, 2]
        assert told.labels.array[1, 23, 19] == 2

    def test_stages_of_all_members_share_the_prepared_scan(self, monkeypatch):
        made = []
        prepare = inference.prepare_image
        monkeypatch.setattr(inference, "prepare_image", lambda *given: made.append(given[1]) or prepare(*given))

        trained({"own": stage()}, members=self.members(50.0, 150.0), combination=Ensemble()).segment(scan(), SPACING)

        assert len(made) == 1

    def test_an_ensemble_may_be_a_member(self):
        inner = trained({}, members=self.members(0.0, 100.0), combination=Ensemble())
        outer = trained(
            {"own": stage(network=Shifted(50.0))}, members={"1": inner}, combination=Ensemble(weights=[1, 2])
        )
        flat = trained({}, members=self.members(50.0, 0.0, 100.0), combination=Ensemble())

        assert list(outer.networks) == ["own", "1/1/only", "1/2/only"]
        np.testing.assert_array_equal(outer.segment(scan(), SPACING), flat.segment(scan(), SPACING))

    def test_regions_that_lie_in_each_other_and_labels_meet(self):
        nested, doubting = TestBinaryStages().method(), stage()
        doubting.module.output = build_output("labels", labels=["kidney"], regions=["kidney_and_mass"])

        keep = PostProcessing("all", False)
        method = trained(
            {"labels": doubting}, members={"1": nested}, combination=Ensemble(weights=[2, 1]), postprocessing=keep
        )
        found, own = (told.segment(scan(), SPACING) for told in (method, nested))

        assert method.output.regions == ("kidney_and_mass", "mass", "tumor")
        assert set(np.unique(own)) == {0, 1, 3}
        # masses are known to the one member alone; the other is sure that there are no kidneys, and counts twice
        np.testing.assert_array_equal(found, np.where(own == 3, own, 0))

    def test_a_combination_that_does_not_work_on_them_is_refused(self):
        with pytest.raises(InputError, match="has 2 numbers for 1 member"):
            trained({"own": stage()}, combination=Ensemble(weights=[1, 2]))
