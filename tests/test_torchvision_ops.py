"""torchvision's operators in plain PyTorch, and the hook that registers them where the compiled ones do not load."""

import importlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from torch import Tensor

from kidney_lab import import_hook, torchvision_ops

torchvision = importlib.import_module("torchvision")  # after kidney_lab, whose hook completes it
ROOT = Path(__file__).resolve().parents[1]


def has_compiled_operators() -> bool:
    return bool(importlib.import_module("torchvision.extension")._has_ops())


def random_boxes(count: int, size: float = 30.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Boxes `(count, 4)` that overlap a good deal, and scores `(count,)` with ties."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator) * size
    extents = 2 + 12 * torch.rand(count, 2, generator=generator)
    scores = torch.randint(0, count // 2, (count,), generator=generator) / count
    return torch.cat([corners, corners + extents], dim=1), scores


def literal_nms(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    """The definition, one pair of boxes at a time."""
    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda i: -float(scores[i])):
        x1, y1, x2, y2 = boxes[index].tolist()
        for other in kept:
            u1, v1, u2, v2 = boxes[other].tolist()
            shared = max(0.0, min(x2, u2) - max(x1, u1)) * max(0.0, min(y2, v2) - max(y1, v1))
            if shared / ((x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - shared) > threshold:
                break
        else:
            kept.append(index)
    return kept


def test_nms_keeps_a_box_whose_overlap_equals_the_threshold() -> None:
    boxes = torch.tensor([[0.0, 0, 2, 1], [0, 0, 1, 1], [5, 5, 6, 6]])  # overlap of the first two: 1 / 2
    scores = torch.tensor([0.9, 0.8, 0.7])
    assert torchvision_ops.nms(boxes, scores, 0.5).tolist() == [0, 1, 2]
    assert torchvision_ops.nms(boxes, scores, 0.499).tolist() == [0, 2]


def test_nms_compares_in_double_precision_as_the_compiled_operator_does() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 1], [0, 0, 1, 1]])  # overlap 0.1, which float32 rounds up
    assert torchvision_ops.nms(boxes, torch.tensor([2.0, 1.0]), 0.1).tolist() == [0]


def test_nms_returns_indices_by_falling_score_and_the_earlier_of_equals() -> None:
    apart = torch.tensor([[0.0, 0, 1, 1], [2, 2, 3, 3], [4, 4, 5, 5], [6, 6, 7, 7]])
    assert torchvision_ops.nms(apart, torch.tensor([0.1, 0.9, 0.5, 0.9]), 0.5).tolist() == [1, 3, 2, 0]
    same = torch.tensor([[0.0, 0, 1, 1]] * 3)
    assert torchvision_ops.nms(same, torch.tensor([0.5, 0.5, 0.5]), 0.5).tolist() == [0]


def test_nms_lets_a_suppressed_box_suppress_nothing() -> None:
    chain = torch.tensor([[0.0, 0, 4, 1], [2, 0, 6, 1], [4, 0, 8, 1]])  # neighbours overlap by 1 / 3, the ends do not
    assert torchvision_ops.nms(chain, torch.tensor([3.0, 2.0, 1.0]), 0.3).tolist() == [0, 2]


@pytest.mark.parametrize("rows", [7, 256])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
def test_nms_equals_the_definition(threshold: float, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision_ops, "_ROWS", rows)  # boxes in one block, and in several
    boxes, scores = random_boxes(60)
    assert torchvision_ops.nms(boxes.double(), scores, threshold).tolist() == literal_nms(boxes, scores, threshold)


def test_nms_of_nothing_is_nothing() -> None:
    kept = torchvision_ops.nms(torch.zeros(0, 4), torch.zeros(0), 0.5)
    assert kept.shape == (0,)
    assert kept.dtype == torch.int64


def test_nms_keeps_empty_boxes() -> None:
    assert torchvision_ops.nms(torch.ones(2, 4), torch.tensor([1.0, 2.0]), 0.0).tolist() == [1, 0]


def test_nms_refuses_shapes_that_do_not_match() -> None:
    with pytest.raises(RuntimeError, match=r"boxes must be \(N, 4\), got \(3, 5\)"):
        torchvision_ops.nms(torch.zeros(3, 5), torch.zeros(3), 0.5)
    with pytest.raises(RuntimeError, match=r"scores must be \(3,\), got \(2,\)"):
        torchvision_ops.nms(torch.zeros(3, 4), torch.zeros(2), 0.5)


def test_batched_nms_of_torchvision_separates_classes() -> None:
    boxes = torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]])
    kept = torchvision.ops.batched_nms(boxes, torch.tensor([0.2, 0.9, 0.5]), torch.tensor([0, 1, 0]), 0.5)
    assert kept.tolist() == [1, 2]


def test_roi_align_of_a_whole_map_is_average_pooling() -> None:
    features = torch.arange(16.0).view(1, 1, 4, 4)
    whole = torch.tensor([[0.0, 0, 0, 4, 4]])
    pooled = torchvision_ops.roi_align(features, whole, 1.0, 2, 2, 2, True)  # samples fall on the pixels' centres
    assert pooled.tolist() == [[[[2.5, 4.5], [10.5, 12.5]]]]


@pytest.mark.parametrize("sampling_ratio", [1, 2, 3, 0, -1])
def test_roi_align_of_a_plane_gives_the_plane_at_the_bins_centres(sampling_ratio: int) -> None:
    y, x = torch.meshgrid(torch.arange(12.0), torch.arange(10.0), indexing="ij")
    plane = (3 * y + 5 * x)[None, None].double()
    box = torch.tensor([[0, 4.0, 6, 16, 18]], dtype=torch.float64)  # in the map: x 2 to 8, y 3 to 9
    pooled = torchvision_ops.roi_align(plane, box, 0.5, 2, 3, sampling_ratio, False)
    rows, columns = torch.tensor([4.5, 7.5]), torch.tensor([3.0, 5.0, 7.0])
    assert torch.allclose(pooled[0, 0], (3 * rows[:, None] + 5 * columns).double())


def test_roi_align_counts_the_border_for_one_pixel_and_zero_beyond() -> None:
    features = torch.full((1, 1, 4, 4), 8.0)
    boxes = torch.tensor([[0.0, -1, 0, 0, 1], [0, -9, 0, -5, 1], [0, -3, 0, 1, 1]])  # beside, outside, half of it
    pooled = torchvision_ops.roi_align(features, boxes, 1.0, 1, 1, 4, False)
    assert pooled.flatten().tolist() == [8.0, 0.0, 4.0]


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [2, -1])
def test_roi_align_equals_torchvisions_python_transcription(sampling_ratio: int, aligned: bool) -> None:
    reference = importlib.import_module("torchvision.ops.roi_align")._roi_align.__wrapped__
    features = torch.randn(3, 4, 16, 20, generator=torch.Generator().manual_seed(1))
    boxes, _ = random_boxes(9, size=24)
    rois = torch.cat([torch.arange(9.0)[:, None] % 3, boxes.clamp(max=31)], dim=1)
    arguments = (features, rois, 0.5, 3, 5, sampling_ratio, aligned)
    assert torch.allclose(torchvision_ops.roi_align(*arguments), reference(*arguments), atol=1e-5)


def test_roi_align_has_the_right_gradient_in_the_map_and_none_in_the_boxes() -> None:
    features = torch.randn(2, 3, 6, 7, dtype=torch.float64, requires_grad=True)
    rois = torch.tensor([[0, 0.3, 0.4, 4.1, 5.2], [1, 2.2, 1.1, 6.3, 3.7]], dtype=torch.float64, requires_grad=True)
    for sampling_ratio in (2, -1):
        assert torch.autograd.gradcheck(
            lambda x, ratio=sampling_ratio: torchvision_ops.roi_align(x, rois, 1.0, 2, 3, ratio, True), (features,)
        )
    torchvision_ops.roi_align(features, rois, 1.0, 2, 3, 2, True).sum().backward()
    assert rois.grad is None


def test_roi_align_of_no_boxes_is_empty() -> None:
    features = torch.randn(1, 3, 5, 5, requires_grad=True)
    for sampling_ratio in (2, -1):
        assert torchvision_ops.roi_align(features, torch.zeros(0, 5), 1.0, 7, 6, sampling_ratio, True).shape == (
            0,
            3,
            7,
            6,
        )


def test_roi_align_keeps_half_precision() -> None:
    features = torch.arange(16.0, dtype=torch.bfloat16).view(1, 1, 4, 4)
    pooled = torchvision_ops.roi_align(features, torch.tensor([[0.0, 0, 0, 4, 4]]), 1.0, 2, 2, 2, True)
    assert pooled.dtype == torch.bfloat16
    assert pooled.flatten().tolist() == [2.5, 4.5, 10.5, 12.5]


def test_roi_align_refuses_boxes_without_batch_index() -> None:
    with pytest.raises(RuntimeError, match=r"rois must be \(K, 5\), got \(2, 4\)"):
        torchvision_ops.roi_align(torch.zeros(1, 1, 4, 4), torch.zeros(2, 4), 1.0, 1, 1, 1, True)


def test_torchvision_calls_operators_that_agree_with_these() -> None:
    boxes, scores = random_boxes(200)
    assert torchvision.ops.nms(boxes, scores, 0.3).tolist() == torchvision_ops.nms(boxes, scores, 0.3).tolist()
    features = torch.randn(1, 2, 12, 12, requires_grad=True)
    rois = torch.cat([torch.zeros(200, 1), boxes - 4], dim=1)
    for ratio in (2, -1):
        called = torchvision.ops.roi_align(features, rois, (2, 3), 0.25, ratio)
        ours = torchvision_ops.roi_align(features, rois, 0.25, 2, 3, ratio, False)
        assert torch.allclose(called, ours, atol=1e-5)
        gradients = [torch.autograd.grad((pooled**2).sum(), features)[0] for pooled in (called, ours)]
        assert torch.allclose(*gradients, atol=1e-4)


def test_mask_rcnn_takes_a_training_step_and_predicts() -> None:
    torch.manual_seed(0)
    backbone_utils = importlib.import_module("torchvision.models.detection.backbone_utils")
    backbone = backbone_utils.resnet_fpn_backbone(backbone_name="resnet18", weights=None, trainable_layers=5)
    network = torchvision.models.detection.MaskRCNN(
        backbone, 2, min_size=64, max_size=64, rpn_pre_nms_top_n_train=64, rpn_post_nms_top_n_train=32,
        rpn_pre_nms_top_n_test=32, rpn_post_nms_top_n_test=8, box_batch_size_per_image=16,
    )  # fmt: skip
    image, mask = torch.rand(3, 64, 64), torch.zeros(1, 64, 64, dtype=torch.uint8)
    mask[:, 20:44, 16:40] = 1
    target = {"boxes": torch.tensor([[16.0, 20, 40, 44]]), "labels": torch.tensor([1]), "masks": mask}
    losses = network([image], [target])
    assert set(losses) == {"loss_classifier", "loss_box_reg", "loss_mask", "loss_objectness", "loss_rpn_box_reg"}
    total = sum(losses.values())
    total.backward()
    assert torch.isfinite(total)
    for parameter in (backbone.body.conv1.weight, network.roi_heads.mask_predictor.mask_fcn_logits.weight):
        assert parameter.grad.abs().sum() > 0
    network.eval()
    with torch.inference_mode():
        (prediction,) = network([image])
    assert prediction["masks"].shape[1:] == (1, 64, 64)


def run_python(script: str, *, folder: Path, path: tuple[Path, ...] = ()) -> str:
    """Runs a script in a fresh interpreter that finds this checkout; returns what it printed."""
    file = folder / "script.py"
    file.write_text(textwrap.dedent(script))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*path, ROOT]))}
    done = subprocess.run([sys.executable, file], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_package_loads_neither_torch_nor_numpy(tmp_path: Path) -> None:
    script = "import kidney_lab, sys; print({'torch', 'numpy', 'hydra', 'torchvision'} & set(sys.modules))"
    assert run_python(script, folder=tmp_path) == "set()"


def test_a_spawned_process_gets_a_complete_torchvision(tmp_path: Path) -> None:
    script = """
        import multiprocessing

        def work():
            import kidney_lab
            import torch, torchvision
            print(torchvision.ops.nms(torch.eye(4)[:0], torch.zeros(0), 0.5).tolist())

        if __name__ == "__main__":
            process = multiprocessing.get_context("spawn").Process(target=work)
            process.start()
            process.join()
            raise SystemExit(process.exitcode)
    """
    assert run_python(script, folder=tmp_path) == "[]"


def test_the_hook_mends_an_import_that_failed_before_it_was_installed(tmp_path: Path) -> None:
    if has_compiled_operators():
        pytest.skip("torchvision's compiled operators load here: its import cannot fail")
    script = """
        try:
            import torchvision
        except RuntimeError as error:
            print(error)
        import kidney_lab
        import torchvision
        print(callable(torchvision.ops.nms))
    """
    assert run_python(script, folder=tmp_path).splitlines() == ["operator torchvision::nms does not exist", "True"]


def test_a_torchvision_whose_operators_load_is_left_alone(tmp_path: Path) -> None:
    package = tmp_path / "site" / "torchvision"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from . import extension\nloaded = extension.count\n")
    (package / "extension.py").write_text("count = 1\ndef _has_ops():\n    return True\n")
    script = """
        import sys, kidney_lab, torchvision
        print(torchvision.loaded, "torch" in sys.modules, "kidney_lab.torchvision_ops" in sys.modules)
    """
    assert run_python(script, folder=tmp_path, path=(tmp_path / "site",)) == "1 False False"


def test_a_missing_torchvision_is_reported_as_such(tmp_path: Path) -> None:
    script = """
        import sys, kidney_lab
        sys.path[:] = [entry for entry in sys.path if "site-packages" not in entry]
        try:
            import torchvision
        except ModuleNotFoundError as error:
            print(error)
    """
    assert run_python(script, folder=tmp_path) == "No module named 'torchvision'"


def test_the_hook_is_installed_once() -> None:
    import_hook.install()
    import_hook.install()
    assert sum(isinstance(finder, import_hook.TorchvisionFinder) for finder in sys.meta_path) == 1


def test_operators_are_registered_once() -> None:
    if has_compiled_operators():
        pytest.skip("torchvision's compiled operators load here: none is registered")
    assert torchvision_ops.register() is torchvision_ops.register()
