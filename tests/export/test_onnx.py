import importlib.util

import pytest
import torch
from monai.networks.nets import DynUNet, UNet
from torch import nn

from kidney_lab.errors import InputError
from kidney_lab.export import onnx as export
from kidney_lab.export.onnx import NotExportableError, averaging, export_onnx, largest_difference

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra export is not installed")

UNET = {"in_channels": 1, "out_channels": 3, "channels": (4, 8, 8), "strides": (2, 2)}
DYNUNET = {
    "in_channels": 1, "out_channels": 3, "kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2],
    "filters": [4, 8, 8], "norm_name": "instance",
}  # fmt: skip
NETWORKS = {
    "UNet 3D": (lambda: UNet(spatial_dims=3, norm="instance", **UNET), (1, 16, 16, 16)),
    "UNet 2D": (lambda: UNet(spatial_dims=2, norm="batch", num_res_units=2, **UNET), (1, 32, 32)),
    "DynUNet 3D": (lambda: DynUNet(3, deep_supervision=True, deep_supr_num=1, **DYNUNET), (1, 16, 16, 16)),
    "DynUNet 2D": (lambda: DynUNet(2, **DYNUNET), (1, 32, 32)),
}


class Wrong(nn.Module):
    """Adds a number to the logits wherever ONNX Runtime does not run."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image + (0.0 if torch.compiler.is_exporting() else 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_the_output_is_that_of_the_network_for_any_batch(tmp_path, name):
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    network = make().train()
    assert export_onnx(network, tmp_path / "model.onnx", shape) < 1e-4
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    image = torch.randn(5, *shape)
    (logits,) = session.run(None, {"image": image.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(logits), network.eval()(image), rtol=0, atol=1e-4)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]  # the weights are in it
    assert session.get_inputs()[0].shape == ["batch", *shape]


@pytest.mark.slow
def test_a_file_that_differs_is_not_kept(tmp_path):
    with pytest.raises(NotExportableError, match=r"output differs by 0\.5, above"):
        export_onnx(Wrong(), tmp_path / "model.onnx", (1, 4, 4))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_what_onnx_has_not_is_told(tmp_path):
    network = nn.Sequential(nn.Conv3d(1, 2, 1), nn.AdaptiveMaxPool3d(3))
    with pytest.raises(NotExportableError, match="Sequential holds what ONNX has not"):
        export_onnx(network, tmp_path / "model.onnx", (1, 8, 8, 8))
    assert not list(tmp_path.iterdir())


def test_a_difference_between_file_and_network_is_measured(tmp_path):
    from onnx import TensorProto, helper, save

    shape = ["batch", 1, 4, 4]
    half = helper.make_tensor("half", TensorProto.FLOAT, [1], [0.5])
    graph = helper.make_graph(
        [helper.make_node("Add", ["image", "half"], ["logits"])],
        "half more",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
        [half],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path / "model.onnx")
    assert largest_difference(nn.Identity(), tmp_path / "model.onnx", (1, 4, 4)) == pytest.approx(0.5, abs=1e-6)


def test_a_network_without_one_tensor_of_logits_is_told(tmp_path):
    class Detector(nn.Module):
        def forward(self, image):
            return [image]

    with pytest.raises(NotExportableError, match="Detector gives list, not one tensor of logits"):
        export_onnx(Detector(), tmp_path / "model.onnx", (1, 4, 4))


def test_missing_packages_are_named_with_the_extra(tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(export.importlib.util, "find_spec", lambda name: None if name == "onnxscript" else found(name))
    with pytest.raises(
        InputError, match=r"onnx=true needs onnxscript: install what is missing by pip install 'kidney-lab\[export"
    ):
        export_onnx(nn.Identity(), tmp_path / "model.onnx", (1, 4, 4))


@pytest.mark.parametrize(("n", "m"), [(8, 4), (24, 16), (7, 3), (5, 5), (4, 6)])
def test_adaptive_pooling_is_a_matrix(n, m):
    signal = torch.randn(2, 1, n, 1, 1)
    expected = nn.functional.adaptive_avg_pool3d(signal, (m, 1, 1))[:, 0, :, 0, 0]
    torch.testing.assert_close(signal[:, 0, :, 0, 0] @ torch.from_numpy(averaging(n, m)).T, expected)


@pytest.mark.slow
def test_adaptive_pooling_in_3d_is_exported(tmp_path):
    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Conv3d(1, 2, 1)

        def forward(self, image):
            return nn.functional.adaptive_avg_pool3d(self.head(image), (4, 5, 3))

    assert export_onnx(Pooled(), tmp_path / "model.onnx", (1, 8, 7, 9)) < 1e-4
