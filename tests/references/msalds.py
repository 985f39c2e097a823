"""Slow, literal readings of MSALDS (Zheng et al., BMVC 2022): Eqs. 1 to 5 pixel by pixel, and its networks' graphs."""

import math

import torch
import torch.nn.functional as F

EPSILON = 1e-5  # of batch and instance normalization in torch


def pixels(*maps):
    """The pixels of equally large maps, in one order."""
    return zip(*(map_.flatten().tolist() for map_ in maps), strict=True)


def binary_cross_entropy(y, p):
    return -(y * math.log(p) + (1 - y) * math.log(1 - p))


def difficulty(m):
    """λ of Eq. 2 for one pixel."""
    return (1 - m) ** 2 + abs(1 - m)


def difficulty_cross_entropy(Y, P, M):
    """L_dce of Eq. 1, averaged over pixels."""
    values = [difficulty(m) * binary_cross_entropy(y, p) for y, p, m in pixels(Y, P, M)]
    return sum(values) / len(values)


def dice_loss(Y, P, smooth=1e-5):
    """1 minus the soft Dice of each sample, averaged over samples; MONAI's default of the small constants."""
    losses = []
    for y, p in zip(Y, P, strict=True):
        overlap = sum(a * b for a, b in pixels(y, p))
        losses.append(1 - (2 * overlap + smooth) / (sum(a + b for a, b in pixels(y, p)) + smooth))
    return sum(losses) / len(losses)


def adversarial(fake):
    """L_adv of Eq. 4: `fake` is D(X, P), probabilities."""
    values = [binary_cross_entropy(1, m) for (m,) in pixels(fake)]
    return sum(values) / len(values)


def discriminator(fake, real):
    """L_D of Eq. 5: D(X, P) and D(X, Y), probabilities."""
    against = [binary_cross_entropy(0, m) for (m,) in pixels(fake)]
    in_favour = [binary_cross_entropy(1, m) for (m,) in pixels(real)]
    return 1 / 2 * (sum(against) / len(against) + sum(in_favour) / len(in_favour))


def segmentation(Y, P, M):
    """L_seg of Eq. 3."""
    return dice_loss(Y, P) + difficulty_cross_entropy(Y, P, M) + 0.05 * adversarial(M)


def normalized_convolution(x, weights, name, *, dilation=1):
    """3x3 or 1x1 convolution without bias, then batch normalization with its running statistics."""
    kernel = weights[f"{name}.conv.weight"]
    x = F.conv2d(x, kernel, padding=dilation * (kernel.shape[-1] // 2), dilation=dilation)
    mean, variance, scale, shift = (
        weights[f"{name}.adn.N.{key}"][None, :, None, None] for key in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (variance + EPSILON).sqrt() * scale + shift


def residual_block(x, weights, name, *, dilation=1):
    branch = normalized_convolution(x, weights, f"{name}.conv1", dilation=dilation).clamp(min=0)
    branch = normalized_convolution(branch, weights, f"{name}.conv2", dilation=dilation)
    if f"{name}.attention.fc.0.weight" in weights:
        squeezed = branch.mean(dim=(2, 3))
        hidden = squeezed @ weights[f"{name}.attention.fc.0.weight"].T + weights[f"{name}.attention.fc.0.bias"]
        excited = hidden.clamp(min=0) @ weights[f"{name}.attention.fc.2.weight"].T
        branch = branch / (1 + torch.exp(-excited - weights[f"{name}.attention.fc.2.bias"]))[:, :, None, None]
    if f"{name}.shortcut.conv.weight" in weights:
        x = normalized_convolution(x, weights, f"{name}.shortcut")
    return (branch + x).clamp(min=0)


def msalds_unet(image, weights, dilations):
    """Logits of the three decoder stages of a network of four levels with a dilated bottleneck, finest first."""
    first = residual_block(image, weights, "body.encoder.0")
    second = residual_block(F.max_pool2d(first, 2), weights, "body.encoder.1")
    third = residual_block(F.max_pool2d(second, 2), weights, "body.encoder.2")
    x = F.max_pool2d(third, 2)
    for position, dilation in enumerate(dilations):
        x = residual_block(x, weights, f"body.bottleneck.{position}", dilation=dilation)
    logits = []
    for level, skip in ((2, third), (1, second), (0, first)):
        up = f"body.upsamplings.{level}.deconv"
        x = F.conv_transpose2d(x, weights[f"{up}.weight"], weights[f"{up}.bias"], stride=2)
        x = residual_block(torch.cat([skip, x], dim=1), weights, f"body.decoder.{level}")
        logits.append(F.conv2d(x, weights[f"heads.{level}.weight"], weights[f"heads.{level}.bias"]))
    return logits[::-1]
