"""First weights scaled by data (``init = "data"``): all layers' outputs get the same mean square, by their integers.

What does not belong here: how far weights reach before that (`state.initialization`).
"""

from __future__ import annotations

from math import isqrt
from typing import Final

import numpy as np

from fxptrain.fixed.multiplier import Multiplier
from fxptrain.nn.engine.inference import CHUNK, Inference
from fxptrain.nn.engine.passes import Inputs
from fxptrain.nn.model import Model
from fxptrain.nn.state.parameters import IntArray

SAMPLES: Final = CHUNK
ROUNDS: Final = 4  # at most; one is enough where nothing saturated or vanished
CLOSE: Final = 4  # bits of the factor that are right then
ROOT_FRAC: Final = 30
ONE: Final = 1 << ROOT_FRAC
LARGEST: Final = 16  # factor of a round


def start_by_data(model: Model, inputs: Inputs) -> None:
    """Draw the weights of layers that start by data within a bound at which their outputs have a mean square of 1/2.

    That is a variance of one before a ReLU. Layer by layer from the input: each is run as inference runs it, on what
    the layers before it give by their final weights.

    Parameters
    ----------
    model : Model
        As `Model.build` makes it; changed. The draws are the ones it was built with, in another proportion.
    inputs : uint8 or raw int array (n, h, w, c)
        Some samples; the first `SAMPLES` are used.

    References
    ----------
    Mishkin, Matas, "All you need is a good init", ICLR 2016, arXiv:1511.06422, algorithm 1 (LSUV).
    """
    chosen = [i for i, stage in enumerate(model.stages) if model.init_of(stage) == "data"]
    if not chosen:
        return
    samples = inputs[:SAMPLES]
    run = Inference(model, len(samples))
    for i in chosen:
        stage = model.stages[i]
        first = model.bound_of(stage)
        assert first is not None, "weights that start by data have a bound"
        bound = first
        for _ in range(ROUNDS):
            factor = _factor(run.outputs(i, samples), stage.y_form.format.frac_bits)
            if abs(factor - ONE) < ONE >> CLOSE:
                break
            bound = bound.times(Multiplier.from_ratio(factor, ONE))
            model.start(stage, bound)
        else:
            if not run.outputs(i, samples).any():  # there is nothing to scale by
                model.start(stage, first)


def _factor(outputs: IntArray, frac: int) -> int:
    """What outputs must be multiplied by for a mean square of 1/2, with `ROOT_FRAC` fractional bits, floored."""
    total = 0
    for sample in outputs:
        high, low = sample.reshape(-1).astype(np.int64) >> 16, sample.reshape(-1).astype(np.int64) & 0xFFFF
        total += (int(high @ high) << 32) + (int(high @ low) << 17) + int(low @ low)  # exact: (high 2**16 + low)**2
    wanted = outputs.size << max(2 * frac - 1, 0)
    total <<= max(1 - 2 * frac, 0)
    return min(isqrt((wanted << 2 * ROOT_FRAC) // total), LARGEST * ONE) if total else LARGEST * ONE
