"""Convolution blocks of U-Nets, with or without a residual connection.

Convolutions have no bias: the InstanceNorm behind each subtracts it again.
"""

import torch
from torch import Tensor, nn

NEGATIVE_SLOPE = 0.01

Triple = tuple[int, int, int]
"""One number for each axis, in the order (D, H, W)."""


def instance_norm(channels: int) -> nn.InstanceNorm3d:
    """InstanceNorm with a learned scale and shift per channel."""
    return nn.InstanceNorm3d(channels, eps=1e-5, affine=True)


def leaky_relu() -> nn.LeakyReLU:
    """LeakyReLU in place: neither InstanceNorm nor a sum needs its own output to differentiate."""
    return nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True)


def initialize_he(module: nn.Module) -> None:
    """Draws a convolution's weights as nnU-Net does, for `module.apply`; other modules keep theirs.

    Kaiming's normal initialisation (He et al., ICCV 2015) for LeakyReLU; biases are 0.
    """
    if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
        nn.init.kaiming_normal_(module.weight, a=NEGATIVE_SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class ConvBlock(nn.Module):
    """Convolutions, each normalised and activated: act(branch(x)), or act(branch(x) + shortcut(x)).

    The branch is conv-norm-act-...-conv-norm. The shortcut is the input itself where the shape stays, else a 1x1x1
    convolution with the block's stride, normalised. Without it the remaining weights keep their names.

    Args:
        in_channels: of the input.
        out_channels: of every convolution.
        kernel_size: odd, so that a stride of 1 keeps the size.
        stride: of the first convolution.
        n_conv: number of convolutions, 1 or more.
        residual: whether there is a shortcut.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: Triple = (3, 3, 3),
        stride: Triple = (1, 1, 1),
        n_conv: int = 2,
        residual: bool = True,
    ) -> None:
        super().__init__()
        depth, height, width = kernel_size
        padding = (depth // 2, height // 2, width // 2)
        self.convs = nn.ModuleList()
        for k in range(n_conv):
            shape = (out_channels if k else in_channels, out_channels)
            self.convs.append(nn.Conv3d(*shape, kernel_size, 1 if k else stride, padding, bias=False))
        self.norms = nn.ModuleList(instance_norm(out_channels) for _ in range(n_conv))
        self.act = leaky_relu()
        self.shortcut: nn.Module | None = None
        if residual and in_channels == out_channels and stride == (1, 1, 1):
            self.shortcut = nn.Identity()
        elif residual:
            projection = nn.Conv3d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(projection, instance_norm(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Returns `(B, out_channels, D, H, W)`, the input's size over the stride, rounded up."""
        out = x
        for k, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            out = norm(conv(self.act(out) if k else out))
        if self.shortcut is not None:
            out = out + self.shortcut(x)
        return self.act(out)  # type: ignore[no-any-return]  # modules are not typed by what they return


class UpBlock(nn.Module):
    """One step up: transposed convolution (its kernel is the stride), norm, act; concatenated skip; `ConvBlock`.

    Args:
        in_channels: of the coarser features.
        skip_channels: of the encoder's features, and of the result.
        stride: from the coarser grid to that of the skip.
        kernel_size: of the convolutions after the concatenation.
        n_conv: their number.
        residual: whether they have a shortcut.
    """

    def __init__(
        self,
        in_channels: int,
        skip_channels: int,
        *,
        stride: Triple,
        kernel_size: Triple = (3, 3, 3),
        n_conv: int = 2,
        residual: bool = True,
    ) -> None:
        super().__init__()
        transposed = nn.ConvTranspose3d(in_channels, skip_channels, stride, stride, bias=False)
        self.upsample = nn.Sequential(transposed, instance_norm(skip_channels), leaky_relu())
        self.block = ConvBlock(
            2 * skip_channels, skip_channels, kernel_size=kernel_size, n_conv=n_conv, residual=residual
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Returns features `(B, skip_channels, D, H, W)` on the grid of `skip`; sizes that differ raise."""
        return self.block(torch.cat((self.upsample(x), skip), dim=1))  # type: ignore[no-any-return]
