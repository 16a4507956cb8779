"""A step of the last layers on latents: of new samples, and of those that a ring replays.

What does not belong here: which samples a ring keeps and replays (`nn.replay`), and where latents come from
(`inference.latents`).
"""

from __future__ import annotations

import numpy as np

from fxptrain.errors import FxptrainError
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.nn.engine.passes import Labels
from fxptrain.nn.engine.step import StepResult, training_step
from fxptrain.nn.model import Model
from fxptrain.nn.replay import Ring
from fxptrain.nn.state.parameters import IntArray
from fxptrain.nn.tail import behind, finished, latent_of


class ReplayStep:
    """Trains the last layers of a model.

    Parameters
    ----------
    model : Model
        Its last layers change with every step; the others do not run.
    ring : Ring, optional
        Of this model; without it nothing is replayed.
    new : int
        Largest number of new samples in a step.
    replays : int
        Largest number of replayed ones.
    threads : int
        They change no bit.
    """

    def __init__(self, model: Model, ring: Ring | None, *, new: int, replays: int = 0, threads: int = 1) -> None:
        if ring is None and replays:
            raise FxptrainError(f"`replays` (={replays}) in a step need a ring. Give one, or replay none.")
        self.model, self.ring = model, ring
        self.part = behind(model, latent_of(model.graph))
        self.step = training_step(self.part, new + replays, threads=threads)

    def run(
        self, latents: IntArray, labels: Labels, rate: Multiplier, *, replays: int = 0, keep: bool = True
    ) -> StepResult:
        """Train on new samples, and behind them in the batch on some of the ring's.

        Parameters
        ----------
        latents : int array (n, h, w, c)
            Of new samples, raw in the format of the tensor that the last layers read (`inference.latents`).
        labels : int array (n,)
            Their classes.
        rate : Multiplier
            Learning rate.
        replays : int
            How many to replay; none where the ring is empty.
        keep : bool
            Whether the new samples are offered to the ring first, one after the other: not if they were before.
        """
        self.part.step, self.part.calibrated = self.model.step, self.model.calibrated
        if self.ring is not None:
            for latent, label in zip(latents, labels, strict=True) if keep else ():
                self.ring.offer(latent, int(label), new=True)
            places = self.ring.drawn(self.part.step, replays)
            latents = np.concatenate([latents, self.ring.latents[places]])
            labels = np.concatenate([labels, self.ring.labels(places)])
        result = self.step.run(latents, labels, rate)
        finished(self.model, self.part)
        return result
