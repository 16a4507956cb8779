"""Latent replay: what the layers that are not trained gave for some samples, kept as integers and trained on again.

A *ring* has so many places; a place holds one sample's *latent* (the values of one tensor, raw in that tensor's format)
and its group. Groups are the classes of samples that were there before, then the classes of new ones: what is new never
drives out more than half of what was known. All choices are draws of counters, so the same bits come out in C
(``export/runtime/fxp_replay.c``). What does not belong here: running the layers (`tail`, `engine`), files, data.

References
----------
Pellegrini, Graffieti, Lomonaco, Maltoni, "Latent replay for real-time continual learning", IROS 2020: latents instead
of inputs. Ravaglia et al., "A TinyML platform for on-device continual learning with quantized latent replays", JETCAS
2021: latents of 8 bits. Chrysakis, Moens, "Online continual learning from imbalanced data", ICML 2020, algorithm 1:
class-balancing reservoir sampling. Vitter, "Random sampling with a reservoir", TOMS 1985, algorithm R.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from fxptrain.errors import CheckpointError, FxptrainError
from fxptrain.fixed.threefry import threefry2x32
from fxptrain.names import shown
from fxptrain.nn.model import Model
from fxptrain.nn.state.parameters import IntArray
from fxptrain.nn.state.streams import Site, stream
from fxptrain.nn.tail import latent_of, shape_of

MAX_PLACES = 1 << 20
MAX_COUNT = 0xFFFFFFFF
GENERATIONS = 2  # known, new


class Ring:
    """Places for latents.

    Parameters
    ----------
    model : Model
        Whose last layers are trained; it says which tensor is kept, in which format, and the seed and stream of draws.
    places : int
        Two for each class at least, 2**20 at most.

    Attributes
    ----------
    tensor : int
        Which tensor's values are kept.
    latents : int array (places, h, w, c), raw in that tensor's format
        Those of places that are free are zero.
    groups : uint16 array (places,)
        Of the samples kept: the class, of new samples plus the number of classes.
    offered : uint32 array (2 * classes,)
        How many samples of each group there were so far.

    Notes
    -----
    *Which place a sample takes.* While places are free, the next one. Then let m be how many places each group has: a
    sample of a group that has fewer than the largest group's m less one takes a place of the largest group (of the
    first, if several are); that of any other group takes a place of its own group with the chance m / n, where n counts
    the samples of its group with it, so that each of them is equally likely to be kept. Which place of a group, and
    whether, is said by ``word * count >> 32`` of one word: word 0 of the block with counter (samples offered, 0).

    *Which places are replayed.* Replay j of a step takes the block with counter (step, j): word 0 chooses one of the
    groups that have places, word 1 one of its places. All groups are equally likely, some places may come twice.

    The chances of two numbers differ by less than count / 2**32.

    Examples
    --------
    >>> from fxptrain.nn import spec
    >>> layers = (spec.Linear(features=4, trainable=False), spec.Linear(features=2))
    >>> tiny = spec.ModelSpec(name="tiny", input_shape=(2, 2, 1), layers=layers)
    >>> ring = Ring(Model.build(tiny, spec.FormatSpec(), spec.OptimizerSpec()), places=4)
    >>> [ring.offer(np.full((1, 1, 4), i, np.int8), label=i % 2, new=False) for i in range(4)]
    [0, 1, 2, 3]
    >>> [ring.offer(np.full((1, 1, 4), 9, np.int8), label=1, new=True) for _ in range(2)]
    [2, 2]
    >>> ring.groups.tolist(), ring.labels(np.arange(4)).tolist()
    ([0, 1, 3, 1], [0, 1, 1, 1])
    """

    def __init__(self, model: Model, places: int) -> None:
        if model.spec.target != "class":
            raise FxptrainError(
                f"`replay` (={places}) keeps as much of every class, and the model learns {model.spec.target!r} "
                "(`model.target`). Use 0 places."
            )
        least = GENERATIONS * model.stages[-1].out_elements
        if not least <= places <= MAX_PLACES:
            raise FxptrainError(
                f"`replay` (={places}) must be {least} to {MAX_PLACES} places: one for each class of what is known and "
                "one for each of what is new. Use 0 to train without them."
            )
        self.tensor = latent_of(model.graph)
        self.form = model.form_of(self.tensor).format
        self.classes = model.stages[-1].out_elements
        self.latents: IntArray = np.zeros((places, *shape_of(model, self.tensor)), self.form.dtype)
        self.groups = np.zeros(places, np.uint16)
        self.offered = np.zeros(GENERATIONS * self.classes, np.uint32)
        self._seed, self._layer = model.seed, len(model.spec.layers)

    @property
    def places(self) -> int:
        """How many there are."""
        return len(self.groups)

    @property
    def held(self) -> int:
        """How many are taken: the first ones."""
        return min(self.places, int(self.offered.sum(dtype=np.int64)))

    @property
    def bytes(self) -> int:
        """Bytes of its arrays."""
        return self.latents.nbytes + self.groups.nbytes + self.offered.nbytes

    def offer(self, latent: IntArray, label: int, *, new: bool) -> int | None:
        """Let a sample in, by the rule above; returns its place, None where it has none."""
        place = self.place_for(label + new * self.classes)
        if place is not None:
            self.latents[place] = latent
        return place

    def place_for(self, group: int) -> int | None:
        """Count a sample of a group and give it its place, or none."""
        counter, held = int(self.offered.sum(dtype=np.int64)) & MAX_COUNT, self.held
        self.offered[group] += self.offered[group] < MAX_COUNT
        place: int | None
        if held < self.places:
            place = held
        else:
            word, _ = self._block(Site.RING, counter, 0)
            kept = np.bincount(self.groups, minlength=len(self.offered))
            largest = int(kept.argmax())
            if kept[group] + 1 < kept[largest]:
                place = self._of(largest, _below(word, int(kept[largest])))
            else:
                number = _below(word, int(self.offered[group]))
                place = self._of(group, number) if number < kept[group] else None
        if place is not None:
            self.groups[place] = group
        return place

    def drawn(self, step: int, count: int) -> npt.NDArray[np.int64]:
        """Places that a step replays; none where all are free."""
        kept = np.bincount(self.groups[: self.held], minlength=len(self.offered))
        there = np.flatnonzero(kept)
        found = []
        for number in range(count if len(there) else 0):
            first, second = self._block(Site.REPLAY, step, number)
            group = int(there[_below(first, len(there))])
            found.append(self._of(group, _below(second, int(kept[group]))))
        return np.array(found, np.int64)

    def labels(self, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """Classes of the samples in some places."""
        return (self.groups[places] % self.classes).astype(np.int32)

    def know(self) -> None:
        """Take what is new for known: what is offered from here on is new."""
        self.groups %= self.classes
        both = self.offered.reshape(GENERATIONS, self.classes).sum(axis=0, dtype=np.int64)
        self.offered[:] = 0
        self.offered[: self.classes] = np.minimum(both, MAX_COUNT)

    def _of(self, group: int, number: int) -> int:
        """The place of a group's sample by its number, in the order of places."""
        return int(np.flatnonzero(self.groups[: self.held] == group)[number])

    def _block(self, site: Site, first: int, second: int) -> tuple[int, int]:
        words = threefry2x32(
            np.uint32(self._seed), np.uint32(stream(self._layer, site)), np.uint32(first), np.uint32(second)
        )
        return int(words[0]), int(words[1])

    # State -----------------------------------------------------------------------------------------------------------

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Its arrays as a checkpoint names them."""
        return {f"ring.{name}": getattr(self, name) for name in ("latents", "groups", "offered")}

    def bits(self) -> dict[str, int]:
        """Bits of the latents' values."""
        return {"ring.latents": self.form.total_bits}

    def numbers(self) -> list[int]:
        """What the latents belong to: the tensor, its bits and fractional bits."""
        return [self.tensor, self.form.total_bits, self.form.frac_bits]

    @classmethod
    def restored(cls, model: Model, numbers: Any, arrays: dict[str, npt.NDArray[Any]]) -> Self:
        """The ring that a checkpoint holds.

        Raises
        ------
        CheckpointError
            Where it is malformed, or none of this model.
        """
        try:
            found = [arrays[f"ring.{name}"] for name in ("latents", "groups", "offered")]
            ring = cls(model, len(found[1]))
            own: list[npt.NDArray[Any]] = [ring.latents, ring.groups, ring.offered]
            fits = all(a.shape == b.shape and a.dtype == b.dtype for a, b in zip(found, own, strict=True))
            latents, groups, offered = found
            if not fits or numbers != ring.numbers() or int(groups.max()) >= len(offered):
                raise CheckpointError(f"The ring of the checkpoint ({shown(numbers)}) is none of its model's.")
            low, high = int(latents.min()), int(latents.max())
            if low < ring.form.min_raw or high > ring.form.max_raw:
                raise CheckpointError(
                    f"The ring of the checkpoint has values of more than {ring.form.total_bits} bits."
                )
        except KeyError as error:
            raise CheckpointError(f"The checkpoint has a ring without {error}.") from None
        except TypeError:
            raise CheckpointError(f"The ring of the checkpoint ({shown(numbers)}) is malformed.") from None
        ring.latents[...], ring.groups[...], ring.offered[...] = latents, groups, offered
        kept = np.bincount(groups[: ring.held], minlength=len(offered))
        if np.any(kept > offered):
            raise CheckpointError("The ring of the checkpoint holds more samples of a class than it was offered.")
        return ring


def chosen(model: Model, places: int, labels: Iterable[int]) -> tuple[Ring, npt.NDArray[np.int64]]:
    """A ring to which known samples were offered by their labels, and which of them it holds, by place.

    Their latents are not in it yet: they are needed of those samples only.
    """
    ring, found = Ring(model, places), np.zeros(places, np.int64)
    for sample, label in enumerate(labels):
        place = ring.place_for(int(label))
        if place is not None:
            found[place] = sample
    return ring, found[: ring.held]


def _below(word: int, count: int) -> int:
    """A number 0 to count - 1 from a draw."""
    return word * count >> 32
