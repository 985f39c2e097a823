"""Slow, literal reading of ERNet's Eqs. 1 and 2 (Xue et al., 2025): one pixel, one channel, one place at a time."""

import math

import torch


def psi(A, head, c, M):
    """Eq. 1 for one RoI: A is (K, u, v), M a list of pixels; gives rows of numbers (u, v)."""
    K, U, V = A.shape
    places = [(u, v) for u in range(U) for v in range(V)]
    total = [[0.0] * V for _ in range(U)]
    for k in range(K):
        channel = A[k].clone().requires_grad_()
        y = head(torch.cat([A[:k], channel[None], A[k + 1 :]])[None])[0]
        gradients = [torch.autograd.grad(y[c, i, j], channel, retain_graph=True)[0] for i, j in M]
        alpha = sum(gradient[u, v].item() for gradient in gradients for u, v in places) / len(places)
        for u, v in places:
            total[u][v] += alpha * A[k, u, v].item()
    return [[max(value, 0.0) for value in row] for row in total]


def resized(rows, height, width):
    """Bilinear, with pixels as squares whose centres lie at their middle; the outermost values reach to the edge."""

    def neighbours(i, size, target):
        x = min(max((i + 0.5) * size / target - 0.5, 0), size - 1)
        low = math.floor(x)
        return (low, 1 - (x - low)), (min(low + 1, size - 1), x - low)

    def value(i, j):
        down, across = neighbours(i, len(rows), height), neighbours(j, len(rows[0]), width)
        return sum(a * b * rows[u][v] for u, a in down for v, b in across)

    return [[value(i, j) for j in range(width)] for i in range(height)]


def h(rows, inside):
    """Eq. 2 on Psi that has been resized, divided by its maximum; `inside` says which pixels have `y_ij = c`."""
    largest = max(max(row) for row in rows)
    return [
        [value / largest if inside[i][j] and largest > 0 else 0.0 for j, value in enumerate(row)]
        for i, row in enumerate(rows)
    ]
