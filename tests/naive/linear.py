"""Linear layer: exact sums forward and both gradients; x (n, k), w (k, m), error (n, m). No rounding here."""

from __future__ import annotations

from .containers import Ints, exact, zeros


def linear_forward(x: Ints, w: Ints, bias: Ints | None = None) -> Ints:
    """``acc[n, m] = bias[m] + sum over k of x[n, k] * w[k, m]``; bias in accumulator units."""
    x, w = exact(x), exact(w)
    acc = zeros((x.shape[0], w.shape[1]))
    if bias is not None:
        acc += exact(bias)
    for s in range(x.shape[0]):
        for m in range(w.shape[1]):
            for k in range(w.shape[0]):
                acc[s, m] += x[s, k] * w[k, m]
    return acc


def linear_input_error(error: Ints, w: Ints) -> Ints:
    """``acc[n, k] = sum over m of error[n, m] * w[k, m]``."""
    error, w = exact(error), exact(w)
    acc = zeros((error.shape[0], w.shape[0]))
    for s in range(error.shape[0]):
        for k in range(w.shape[0]):
            for m in range(w.shape[1]):
                acc[s, k] += error[s, m] * w[k, m]
    return acc


def linear_weight_gradient(x: Ints, error: Ints) -> Ints:
    """``gradient[k, m] = sum over n of x[n, k] * error[n, m]``."""
    x, error = exact(x), exact(error)
    gradient = zeros((x.shape[1], error.shape[1]))
    for k in range(x.shape[1]):
        for m in range(error.shape[1]):
            for s in range(x.shape[0]):
                gradient[k, m] += x[s, k] * error[s, m]
    return gradient


def linear_bias_gradient(error: Ints) -> Ints:
    """``gradient[m] = sum over n of error[n, m]``."""
    error = exact(error)
    gradient = zeros((error.shape[1],))
    for m in range(error.shape[1]):
        for s in range(error.shape[0]):
            gradient[m] += error[s, m]
    return gradient
