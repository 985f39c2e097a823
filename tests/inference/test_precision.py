import pytest
import torch

from kidney_lab.errors import InputError
from kidney_lab.inference.precision import autocast, choose_precision, precision_to_predict_in

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("capabilities", "chosen"),
    [
        ({"amx_bf16": True}, "bf16-mixed"),
        ({"avx512_bf16": True}, "bf16-mixed"),
        ({"amx_bf16": False, "avx512_bf16": False, "avx512_f": True}, "32-true"),
        ({"architecture": "aarch64", "neon": True}, "32-true"),
    ],
)
def test_a_cpu_takes_bfloat16_where_it_has_it_in_hardware(monkeypatch, capabilities, chosen):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)

    assert choose_precision("auto", CPU) == chosen


def test_a_torch_that_does_not_tell_a_cpu_s_capabilities_computes_in_full_precision(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)  # as in torch 2.8

    assert choose_precision("auto", CPU) == "32-true"


@pytest.mark.parametrize(("emulated_only", "chosen"), [(False, "bf16-mixed"), (True, "16-mixed")])
def test_a_gpu_takes_bfloat16_unless_it_would_have_to_emulate_it(monkeypatch, emulated_only, chosen):
    def is_bf16_supported(including_emulation: bool = True) -> bool:
        return including_emulation or not emulated_only

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_bf16_supported)

    assert choose_precision("auto", CUDA) == chosen


def test_other_devices_compute_in_full_precision():
    assert choose_precision("auto", torch.device("mps")) == "32-true"


@pytest.mark.parametrize("precision", ["32-true", "16-mixed", "bf16-mixed"])
def test_a_precision_that_is_named_is_kept(precision):
    assert choose_precision(precision, CPU) == precision
    assert choose_precision(precision, CUDA) == precision


@pytest.mark.parametrize(
    ("precision", "computed"),
    [("32-true", torch.float32), ("bf16-mixed", torch.bfloat16), ("16-mixed", torch.float32)],
)
def test_a_cpu_predicts_in_the_precision_of_the_training_but_never_in_float16(precision, computed):
    with autocast(precision, CPU):
        product = torch.ones(2, 2) @ torch.ones(2, 2)

    assert product.dtype == computed


@pytest.mark.filterwarnings("ignore:CUDA is not available")
def test_a_gpu_predicts_in_float16_what_was_trained_so():
    context = autocast("16-mixed", CUDA)

    assert isinstance(context, torch.autocast)
    assert (context.device, context.fast_dtype) == ("cuda", torch.float16)


@pytest.mark.parametrize(
    ("bf16", "precision", "trained", "chosen"),
    [
        (True, "trained", "bf16-mixed", "bf16-mixed"),
        (False, "trained", "bf16-mixed", "32-true"),  # which would be emulated
        (True, "trained", "32-true", "32-true"),
        (False, "trained", "16-mixed", "16-mixed"),
        (True, "auto", "32-true", "bf16-mixed"),
        (False, "auto", "bf16-mixed", "32-true"),
        (False, "bf16-mixed", "32-true", "bf16-mixed"),
    ],
)
def test_a_trained_network_predicts_as_it_was_trained_unless_that_is_slow_or_another_wish(
    monkeypatch, bf16, precision, trained, chosen
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": bf16}, raising=False)

    assert precision_to_predict_in(precision, trained=trained, device=CPU) == chosen


def test_an_unknown_wish_is_refused():
    with pytest.raises(InputError, match=r"^inference\.precision=fast is unknown: choose one of trained, auto, 32"):
        precision_to_predict_in("fast", trained="32-true", device=CPU)
