"""Slow, literal reading of ERNet (Xue et al., Traitement du Signal 42(4), 2025): Algorithm 3, line by line."""

import numpy as np


def sigmoid(x):
    """Eq. 3."""
    return 1 / (1 + np.exp(-x))


def derivative(x):
    """Eq. 4."""
    return sigmoid(x) * (1 - sigmoid(x))


def over_pixels(columns):
    """Lines 14 and 15 subtract a column per pixel from a single column: the sum of them."""
    return columns.sum(axis=1, keepdims=True)


def algorithm_3(pixel_map, h, Y, W, B, w, b, *, learning_rate=0.01, iterations=1000):
    """Parameters and the loss of every iteration; W `(5, 2)`, B `(5, 1)`, w `(1, 5)`, b `(1, 1)`; maps `(N,)`."""
    inputs = np.stack([pixel_map, h])
    losses = []
    for _ in range(iterations):
        Z = W @ inputs + B
        X = sigmoid(Z)
        y_out = w @ X + b
        losses.append(np.sum((Y - y_out) ** 2) / 2)
        delta_y = y_out - Y
        delta_hidden = (w.T @ delta_y) * derivative(Z)
        W = W - learning_rate * delta_hidden @ inputs.T
        w = w - learning_rate * delta_y @ X.T
        B = B - learning_rate * over_pixels(delta_hidden)
        b = b - learning_rate * over_pixels(delta_y)
    return W, B, w, b, losses
