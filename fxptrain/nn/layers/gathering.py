"""What a stage offers whose forward or input error needs sums over the whole batch, so that all samples meet before it.

What does not belong here: which stages do (`normalization`), and adding up over threads and processes (`nn.engine`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.kernels.call import Call
from fxptrain.nn.state.parameters import IntArray

ROWS = 3  # of sums, a column for every channel
Views = Mapping[str, npt.NDArray[Any]]
Sums = npt.NDArray[np.int64]


class Gathering(ABC):
    """Sums are (3, c); `views` are the stage's buffers of `Stage.shared`, among them ``sums`` and ``gradient`` (2, c).

    They live as long as the step.
    """

    @abstractmethod
    def gather(self, x: IntArray, sums: Sums, scratch: Views) -> list[Call]:
        """Add to `sums` what forward must know of some samples of a batch."""

    @abstractmethod
    def settle(self, views: Views) -> list[Call]:
        """Make ready what forward needs of the sums over all samples."""

    @abstractmethod
    def gather_back(self, error: IntArray, x: IntArray, sums: Sums, scratch: Views) -> list[Call]:
        """Add to `sums` what the input error and the gradients must know of some samples."""

    @abstractmethod
    def settle_back(self, views: Views, *, leads: bool) -> list[Call]:
        """Make ready what input error and gradients need of them.

        The gradients are those of all samples; of several processes that add theirs up, only one `leads` and has them.
        """

    @abstractmethod
    def end_step(self, views: Views) -> None:
        """Take over what was measured of a batch, after its step."""
