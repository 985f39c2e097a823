import numpy as np
import pytest
import torch

from kidney_lab.errors import InputError
from kidney_lab.networks.linear_decoder import LinearDecoder


def interpolated(coarse: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Linear interpolation between the middles of cells along an axis, written out."""
    n = coarse.shape[axis]
    places = np.clip((np.arange(size) + 0.5) * n / size - 0.5, 0, n - 1)
    low = np.floor(places).astype(int)
    share = (places - low).reshape([-1 if number == axis else 1 for number in range(coarse.ndim)])
    below, above = (np.take(coarse, cells, axis) for cells in (low, np.minimum(low + 1, n - 1)))
    return below * (1 - share) + above * share


@pytest.mark.parametrize("encoder", ["resnet50", "vgg16", "alexnet"])  # the paper's
def test_it_is_w_times_the_features_plus_b_at_the_image_s_pixels(encoder):
    torch.manual_seed(0)
    network = LinearDecoder(encoder=encoder, out_channels=2).eval()
    image = torch.randn(2, 3, 90, 101)

    with torch.no_grad():
        logits = network(image).numpy()
        features = network.encoder(image)[-1].numpy()  # (2, channels, 1 to 3, 1 to 4)

    w, b = (value.detach().numpy() for value in network.head[1].parameters())
    coarse = np.einsum("kc,bchw->bkhw", w[:, :, 0, 0], features) + b[:, None, None]
    np.testing.assert_allclose(logits, interpolated(interpolated(coarse, 90, 2), 101, 3), atol=1e-4)


def test_features_are_left_out_in_training_alone():
    network = LinearDecoder(encoder="alexnet", dropout=1.0)
    image = torch.randn(1, 3, 64, 64)

    everything_left_out = network.train()(image)

    torch.testing.assert_close(everything_left_out, network.head[1].bias.view(1, 1, 1, 1).expand(1, 1, 64, 64))
    assert network.eval()(image).std() > 0


def test_a_slice_that_is_too_small_is_refused():
    with torch.device("meta"):
        network = LinearDecoder(encoder="alexnet")
        with pytest.raises(InputError, match=r"alexnet takes slices of 63 x 63 pixels or more, not 62 x 64"):
            network(torch.empty(1, 3, 62, 64))
