"""Seg-Grad-CAM: which places in a region of interest (RoI) speak for a class in a set of its pixels.

K. Vinogradova, A. Dibrov and G. Myers, "Towards Interpretable Semantic Segmentation via Gradient-Weighted Class
Activation Mapping", AAAI 2020, arXiv:2002.11434, in the form of ERNet (Xue et al., Traitement du Signal 42(4), 2025,
section 3.2.3, Eqs. 1 and 2). With activations `A^k_uv` of channel k at place (u, v), logits `y^c_ij` of class c at
pixel (i, j), and a set M of pixels:

    alpha^c_k = mean over (u, v) of  d sum_{(i,j) in M} y^c_ij / d A^k_uv
    Psi^c     = ReLU(sum over k of alpha^c_k A^k)                                    (Eq. 1)
    h_ij      = Psi^c_ij inside the support, 0 outside                               (Eq. 2)

What ERNet leaves open: its text calls `y` labels, which have no gradient, so it is logits here, as for Vinogradova et
al., and where the mask branch has a softmax (`model.mask_activation=softmax`) the log odds of the region; the N of
Eq. 1, in the text "the last layer", is the number of places (u, v); how Psi comes to the pixels of the RoI is not said:
bilinearly here, and divided by its largest value, so that heat is comparable between RoIs.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def differentiable_logits(activations: Tensor, head: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Computes logits that can be differentiated by the activations, in whatever mode the caller computes.

    Gradients are recorded here even inside `torch.no_grad` or `torch.inference_mode`, and autocast is off: small
    gradients would be rounded away in half precision.

    Args:
        activations: `(N, K, u, v)`, one entry per RoI; taken as they are, what led to them is not traced back.
        head: the layers after them, in eval mode, so that each RoI's logits depend on its own activations alone; its
            first must not work in place, and its parameters are in float32 and not made in inference mode.

    Returns:
        The activations as float32 (float64 stays) leaf of a new graph, and logits `(N, C, h, w)` on that graph.
    """
    dtype = torch.promote_types(activations.dtype, torch.float32)
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(activations.device.type, enabled=False):
        # a copy, since tensors made in inference mode can never have gradients
        leaf = activations.detach().to(dtype, copy=True).requires_grad_()
        return leaf, head(leaf)


def channel_weights(activations: Tensor, logits: Tensor, classes: Tensor, pixels: Tensor) -> Tensor:
    """Weight of every channel for the class in the pixels, the second line of Eq. 1.

    One backward pass serves all RoIs: the gradient of the sum of their targets by one RoI's activations is that of its
    own target, since the others do not depend on them. No parameter's `grad` is touched.

    Args:
        activations: `(N, K, u, v)`, part of the graph of the logits.
        logits: `(N, C, h, w)`, as from `differentiable_logits`; their graph is kept, so that one may ask again.
        classes: `(N,)` integers, the channel of the logits that is asked about in each RoI.
        pixels: `(N, h, w)` bool, the set M of each RoI; at inference the pixels predicted as the class.

    Returns:
        `(N, K)`, alpha; 0 where M is empty.
    """
    with torch.autocast(activations.device.type, enabled=False):
        target = torch.zeros_like(logits)
        target[torch.arange(len(classes), device=logits.device), classes] = pixels.to(logits.dtype)
        (gradient,) = torch.autograd.grad(logits, activations, grad_outputs=target, retain_graph=True)
        return gradient.mean(dim=(2, 3))


def seg_grad_cam(activations: Tensor, logits: Tensor, classes: Tensor, pixels: Tensor) -> Tensor:
    """Class activation map of every RoI, Psi of Eq. 1; arguments as for `channel_weights`.

    Returns:
        `(N, u, v)`, at least 0, without a unit and of any size; 0 everywhere where nothing speaks for the class.
    """
    weights = channel_weights(activations, logits, classes, pixels)
    with torch.autocast(activations.device.type, enabled=False):
        return torch.einsum("nk,nkuv->nuv", weights, activations.detach()).relu()


def heatmaps(
    activations: Tensor, logits: Tensor, classes: Tensor, pixels: Tensor, *, support: Tensor | None = None
) -> Tensor:
    """Heat of every pixel of the RoIs, h of Eq. 2; the first four arguments as for `channel_weights`.

    Args:
        activations: `(N, K, u, v)`.
        logits: `(N, C, h, w)`.
        classes: `(N,)`.
        pixels: `(N, h, w)` bool.
        support: `(N, h, w)` bool, the pixels that may have heat. None: the whole RoI, which training and inference can
            do alike. Eq. 2 as printed is the pixels that the reference gives to the class: known in training alone.

    Returns:
        `(N, h, w)`, 0 to 1. The largest value of a RoI before it is confined is 1, or 0 where Psi is 0 everywhere.
    """
    psi = seg_grad_cam(activations, logits, classes, pixels)
    heat = F.interpolate(psi[:, None], size=logits.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    largest = heat.amax(dim=(1, 2), keepdim=True)
    heat = heat / largest.where(largest > 0, 1)
    return heat if support is None else heat * support
