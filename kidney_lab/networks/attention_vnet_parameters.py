"""What every switch of the improved V-Net adds in parameters, beside what its paper says.

`python -m kidney_lab.networks.attention_vnet_parameters` prints the table. J. Lin and Y. Chen, "Kidney Tumor Image
Segmentation Algorithm based on Deep Learning", give 31.2 million in section 2.2.2, "4.7 more than V-Net", 2.1 million
for feature fusion in section 3.2, and 14.8 million in section 4.2.2.
"""

from collections.abc import Collection
from typing import Any, Final

import torch
from monai.networks.nets import VNet
from torch import nn

from kidney_lab.networks.attention_vnet import AttentionVNet

SWITCHES: Final = ("shortcut", "channel_attention", "spatial_attention", "fusion", "boundary_head")

PUBLISHED_MILLIONS: Final = {
    "V-Net (31.2 - 4.7, section 2.2.2)": 26.5,
    "improved V-Net (section 2.2.2)": 31.2,
    "improved V-Net (section 4.2.2)": 14.8,
    "fusion alone (section 3.2)": 2.1,
}


def parameter_counts(**settings: Any) -> dict[str, int]:
    """Parameters of the network with each switch alone.

    Args:
        settings: of `AttentionVNet`, without the switches; one channel in and three out if they name none.

    Returns:
        Parameters without any of the parts (`none`), with each of the switches alone, and with `all` of them.
    """
    settings = {"in_channels": 1, "out_channels": 3} | settings
    choices: dict[str, Collection[str]] = {"none": (), **{switch: (switch,) for switch in SWITCHES}, "all": SWITCHES}
    with torch.device("meta"):
        return {
            name: _parameters(AttentionVNet(**(settings | {switch: switch in on for switch in SWITCHES})))
            for name, on in choices.items()
        }


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _table() -> str:
    wide = [32 * 2**level for level in range(5)]
    columns = {
        "32 channels": parameter_counts(channels=wide),
        "32, beside": parameter_counts(channels=wide, shortcut_join="beside"),
        "23 channels": parameter_counts(channels=[23 * 2**level for level in range(5)]),
    }
    lines = [f"{'parameters, millions':34}" + "".join(f"{name:>14}" for name in columns)]
    lines += [
        f"{parts:34}" + "".join(f"{counts[parts] / 1e6:14.3f}" for counts in columns.values())
        for parts in columns["32 channels"]
    ]
    with torch.device("meta"):
        comparator = _parameters(VNet(spatial_dims=3, in_channels=1, out_channels=3))
    published = {f"published: {name}": value for name, value in PUBLISHED_MILLIONS.items()}
    others = {"MONAI's VNet (5x5x5)": comparator / 1e6} | published
    return "\n".join(lines + [f"{name:47} {value:.1f}" for name, value in others.items()])


if __name__ == "__main__":
    print(_table())
