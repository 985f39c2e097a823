import pytest
import torch
from segmentation_models_pytorch import Unet

from kidney_lab.errors import InputError
from kidney_lab.networks.transfer_unet import TransferUNet


def test_it_is_the_library_s_u_net():
    channels = (32, 16, 16, 8, 8)
    ours = TransferUNet(encoder="resnet18", out_channels=2, decoder_channels=channels).eval()
    library = Unet("resnet18", encoder_weights=None, decoder_channels=channels, classes=2).eval()
    named = {name.replace("head.1.", "segmentation_head."): value for name, value in ours.state_dict().items()}
    library.load_state_dict(named)
    image = torch.randn(2, 3, 64, 64)

    with torch.no_grad():
        torch.testing.assert_close(ours(image), library(image), rtol=0, atol=0)


def test_the_last_features_are_left_out_in_training_alone():
    network = TransferUNet(encoder="resnet18", decoder_channels=(8, 8, 8, 8, 8), dropout=1.0)
    image = torch.randn(2, 3, 64, 64)

    with torch.no_grad():
        logits = network.train()(image)

    assert torch.equal(logits, network.head[1][0].bias.expand(2, 1, 64, 64))
    assert network.eval()(image).std() > 0


@pytest.mark.parametrize(("encoder", "millions"), [("resnet50", 32.5), ("vgg16", 23.7), ("tu-inception_v3", 29.9)])
def test_the_members_of_the_paper_take_slices_of_any_size(encoder, millions):
    with torch.device("meta"):
        network = TransferUNet(encoder=encoder)
        assert network(torch.empty(2, 3, 90, 101)).shape == (2, 1, 90, 101)
        if encoder == "tu-inception_v3":
            with pytest.raises(InputError, match=r"75 x 75 pixels or more, not 64 x 80: enlarge view\.size"):
                network(torch.empty(1, 3, 64, 80))
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(millions * 1e6, rel=0.003)


def test_fewer_levels_of_the_encoder_are_used_by_fewer_levels_of_the_decoder():
    with torch.device("meta"):
        shallow = TransferUNet(encoder="resnet18", decoder_channels=(16, 8, 4))
        assert len(shallow.encoder(torch.empty(1, 3, 32, 32))) == 4


def test_what_cannot_be_built_is_refused():
    with pytest.raises(
        InputError, match=r"alexnet has no features for the skips of a U-Net: set model\.decoder=linear"
    ):
        TransferUNet(encoder="alexnet")
    with pytest.raises(InputError, match=r"The encoder resnet5 is unknown: choose resnet50"):
        TransferUNet(encoder="resnet5")
    with pytest.raises(InputError, match=r"The encoder resnet18 gives no features .* or other model\.decoder_channels"):
        TransferUNet(encoder="resnet18", decoder_channels=(8, 8, 8, 8, 8, 8))
