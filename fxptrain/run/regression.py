"""What outputs that are compared with vectors are worth: errors in the values' own units, and anomalies told apart.

Everything is counted in integers and divided here. What does not belong here: counting (`nn.engine.residuals`), and how
metrics are shown (`report`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.data import Normalization
from fxptrain.nn.engine.residuals import Residuals
from fxptrain.run.metrics import share

Errors = npt.NDArray[np.int64]  # of samples, sums of squares


@dataclass(frozen=True)
class Value:
    """How well one value was learned.

    Parameters
    ----------
    mse, mae : float
        Mean squared and mean absolute error, in its own unit.
    r2 : float, optional
        Share of its variance that is explained; None of a value that is always the same.
    """

    mse: float
    mae: float
    r2: float | None


@dataclass(frozen=True)
class Regression:
    """How well vectors were learned.

    Parameters
    ----------
    mse, mae : float
        Means over all values, each in its own unit; where inputs are learned, as the model reads them.
    r2 : float, optional
        Share of the variance of all values together that is explained, each by the scale it is trained on.
    values : tuple of Value
        One for each output.
    """

    mse: float
    mae: float
    r2: float | None
    values: tuple[Value, ...]

    @classmethod
    def of(cls, found: Residuals, norms: Sequence[Normalization], frac: int) -> Regression:
        """Of counts over one sample or more, of outputs with `frac` fractional bits.

        Examples
        --------
        >>> found = Residuals.none(samples=2, outputs=1)
        >>> found.see(slice(2), np.array([[1], [6]]), np.array([[-1], [4]]))
        >>> Regression.of(found, [Normalization(0.0, 3.0)], 1)
        Regression(mse=9.0, mae=3.0, r2=0.36, values=(Value(mse=9.0, mae=3.0, r2=0.36),))
        """
        n, spreads, missed, values = found.samples, 0, 0, []
        for i, norm in enumerate(norms):
            squares, distances = int(found.squares[i]), int(found.distances[i])
            spread = n * int(found.target_squares[i]) - int(found.targets[i]) ** 2
            spreads, missed = spreads + spread, missed + n * squares
            mse, mae = squares / (n << 2 * frac) * norm.std**2, distances / (n << frac) * norm.std
            values.append(Value(mse, mae, share(spread - n * squares, spread)))
        mse, mae = (sum(getattr(value, name) for value in values) / len(values) for name in ("mse", "mae"))
        return cls(mse, mae, share(spreads - missed, spreads), tuple(values))

    def metrics(self) -> dict[str, float | None]:
        """What is told of an epoch."""
        return {"mse": self.mse, "mae": self.mae, "r2": self.r2}


@dataclass(frozen=True)
class Anomalies:
    """How well anomalies are told from normal samples by how far their outputs are off.

    Parameters
    ----------
    auc : float, optional
        Share of the pairs of a normal and an anomalous sample of which the latter is farther off; equal ones count
        half. None where there are no such pairs.
    threshold : float, optional
        Mean squared error of a sample, as the model reads it, above which it is called anomalous.
    normal, anomalous : int
        Samples of each kind,
    alarms, detected : int, optional
        and how many of them are above the threshold.
    """

    auc: float | None
    threshold: float | None
    normal: int
    anomalous: int
    alarms: int | None
    detected: int | None

    @classmethod
    def of(cls, errors: Errors, is_normal: npt.NDArray[np.bool_], threshold: int | None, unit: int) -> Anomalies:
        """Of sums of squares of samples, of which `unit` make one."""
        normal, anomalous = errors[is_normal], errors[~is_normal]
        above = (None, None) if threshold is None else tuple(
            int(np.count_nonzero(part > threshold)) for part in (normal, anomalous)
        )  # fmt: skip
        limit = None if threshold is None else threshold / unit
        return cls(share(*ranks(normal, anomalous)), limit, len(normal), len(anomalous), *above)

    def metrics(self) -> dict[str, Any]:
        """What is told of them."""
        shares = {
            "false_alarms": share(self.alarms, self.normal) if self.alarms is not None else None,
            "detected_share": share(self.detected, self.anomalous) if self.detected is not None else None,
        }
        return asdict(self) | shares


def ranks(normal: Errors, anomalous: Errors) -> tuple[int, int]:
    """The area under the receiver's curve, numerator and denominator: twice the pairs in order, and twice all pairs.

    Examples
    --------
    >>> ranks(np.array([1, 2, 3]), np.array([3, 9]))
    (11, 12)
    """
    ordered = np.sort(normal)
    below, not_above = (np.searchsorted(ordered, anomalous, side) for side in ("left", "right"))
    return int(below.sum()) + int(not_above.sum()), 2 * len(normal) * len(anomalous)


def percentile(errors: Errors, percent: int) -> int:
    """The smallest error that so many of a hundred samples do not exceed.

    Examples
    --------
    >>> percentile(np.array([7, 1, 5, 3]), 50), percentile(np.array([7, 1, 5, 3]), 99)
    (3, 7)
    """
    return int(np.sort(errors)[-(-percent * len(errors) // 100) - 1])
