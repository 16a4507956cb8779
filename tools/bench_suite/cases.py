"""What is measured: cases, contenders and plans, as plain values.

What does not belong here: measuring, and anything that needs NumPy, PyTorch or the engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, Literal

Mode = Literal["training", "inference"]
Library = Literal["fxptrain", "torch", "numpy"]

MODELS = ("gupta_cnn", "mlp_pocket")
MODES: tuple[Mode, ...] = ("training", "inference")
BATCHES = (1, 16, 64, 256, 1024)
QUICK_BATCHES = (64,)


@dataclass(frozen=True)
class Contender:
    """One way to train: a library and how it is used.

    `name` is the peer's name, or for the engine its formats: ``w8a8e16`` has 8-bit parameters and activations and
    16-bit errors.
    """

    library: Library
    name: str

    def has(self, *, plain: bool) -> bool:
        """Whether it trains models that are a plain chain, or others."""
        return plain or self.library == "fxptrain" or self.name in OF_GRAPHS

    @property
    def bits(self) -> tuple[int, int, int]:
        """Bits of parameters, activations and errors that the name of formats says."""
        parameters, rest = self.name.removeprefix("w").split("a")
        activations, errors = rest.split("e")
        return int(parameters), int(activations), int(errors)


OWN = tuple(Contender("fxptrain", name) for name in ("w8a8e8", "w16a16e16", "w16a16e8"))
PEERS = (
    Contender("torch", "torch-fp32"),
    Contender("torch", "torch-bf16"),
    Contender("torch", "torch-sqpu"),
    Contender("torch", "torch-ste"),
    Contender("numpy", "numpy-fp32"),
)
OF_GRAPHS = ("torch-fp32", "torch-bf16")  # peers that have more than a plain chain of layers


@dataclass(frozen=True)
class Case:
    """One thing a contender does over and over: a training step or a forward pass on one batch."""

    model: str
    mode: Mode
    batch: int
    threads: int

    def message(self) -> dict[str, Any]:
        """The case as JSON-able values; `Case(**message)` reads it back."""
        return asdict(self)


@dataclass(frozen=True)
class Plan:
    """What one run measures.

    Parameters
    ----------
    models, modes, batches, threads
        All their combinations are measured.
    contenders : tuple of Contender
        Who is measured.
    rounds : int
        Times that every contender gets its turn at every case.
    seconds : float
        Length of one turn, at least; a turn is never shorter than two runs.
    cpu_time : bool
        Count the time of the processor, not of the clock: fair on a busy machine, but for one thread only.
    """

    models: tuple[str, ...]
    modes: tuple[Mode, ...]
    batches: tuple[int, ...]
    threads: tuple[int, ...]
    contenders: tuple[Contender, ...]
    rounds: int
    seconds: float
    cpu_time: bool = False

    def cases(self, threads: int) -> Iterator[Case]:
        """All cases with so many threads."""
        for model, mode, batch in product(self.models, self.modes, self.batches):
            yield Case(model, mode, batch, threads)

    def libraries(self) -> tuple[Library, ...]:
        """Libraries that need a process, each once."""
        return tuple(dict.fromkeys(contender.library for contender in self.contenders))


def turns(contenders: Iterable[Contender], round_number: int) -> tuple[Contender, ...]:
    """Contenders in this round's order: rotated by one from round to round, so that nobody always goes first.

    Examples
    --------
    >>> [contender.name for contender in turns(OWN, 1)]
    ['w16a16e16', 'w16a16e8', 'w8a8e8']
    """
    order = tuple(contenders)
    start = round_number % len(order) if order else 0
    return order[start:] + order[:start]
