"""What `test_targets` and tools/check_aarch64 run on each instruction set: prints a line for all to agree on.

Needs nothing but what training needs. ``python -m tests.kernels.target_program [BITS ...]``: the product's sums against
NumPy's, then the hash of the weights of a small model after 20 steps for each of the widths.
"""

import sys

import numpy as np

from fxptrain.fixed.draws import draws
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.kernels.call import from_python
from fxptrain.kernels.dot import COLUMN_MULTIPLE, NO_PICKS, product
from fxptrain.kernels.instructions import CHOICES, FLIP, HOST, PICKS, QUADS
from fxptrain.kernels.sparse import list_groups, sparse_product
from fxptrain.nn import spec as s
from fxptrain.nn.engine.step import TrainingStep
from fxptrain.nn.model import Model

product, list_groups, sparse_product = map(from_python, (product, list_groups, sparse_product))

BATCH, STEPS = 6, 20
LAYERS = (
    s.Conv2d(channels=5, kernel=(3, 3), padding=(1, 1)), s.MaxPool2d(size=(2, 2)), s.ReLU(),
    s.Conv2d(channels=19, kernel=(3, 3), padding=(1, 1)), s.MaxPool2d(size=(2, 2)), s.ReLU(),
    s.DepthwiseConv2d(kernel=(3, 2), padding="same"), s.ReLU(),
    s.Conv2d(channels=6, kernel=(2, 2), stride=(2, 2)), s.ReLU(), s.Flatten(), s.Linear(features=10),
)  # fmt: skip


def check_product(kind: type[np.signedinteger]) -> None:
    """Tiles of every height and width, odd and even lengths, with the extremes of 8 bits: the sums are NumPy's."""
    random = np.random.default_rng(1)
    group = 4 // np.dtype(kind).itemsize
    rows, columns = 15, 3 * COLUMN_MULTIPLE
    for length, low, high in ((7, -128, 128), (6, -128, -127), (2, 127, 128), (1, -128, 128)):
        a = random.integers(low, high, (rows, length, group)).astype(kind)
        b = random.integers(low, high, (length, columns, group)).astype(kind)
        exact = np.einsum("rlg,lcg->rc", a.astype(np.int64), b.astype(np.int64))
        flip = FLIP if kind is np.int8 else kind(0)
        start = (int(flip) * b.astype(np.int64).sum(axis=(0, 2))).astype(np.int32)
        out = np.zeros(rows * columns, np.int32)
        at = np.arange(rows)
        product(
            *((a ^ flip).ravel(), 0, at * length * group, rows, (0, 0, group)),
            *(b.ravel(), 0, columns, (0, 0, columns * group), (1, 1, length)),
            *(1 << 20, start, out, 0, at * columns, 0, False, NO_PICKS),
        )
        assert out.tolist() == exact.ravel().tolist(), f"{kind.__name__} from {low}: the product is wrong"


def check_picks(kind: type[np.signedinteger]) -> None:
    """Every column picks its bytes from those of a row: the sums are those of what NumPy picks."""
    random = np.random.default_rng(2)
    size = np.dtype(kind).itemsize
    rows, columns, length, group = 15, 3 * COLUMN_MULTIPLE, 5, 4 // size
    a = random.integers(-128, 128, (rows, length, CHOICES * group)).astype(kind)
    b = random.integers(-128, 128, (length, columns, group)).astype(kind)
    places = random.integers(0, CHOICES * group, b.shape)
    picks = (places[..., None] * size + np.arange(size)).astype(np.int8).view(kind).ravel()
    chosen = np.take_along_axis(a[:, :, None, :].astype(np.int64), places[None], 3)
    exact = np.einsum("rlcg,lcg->rc", chosen, b.astype(np.int64))
    flip = FLIP if kind is np.int8 else kind(0)
    start = (int(flip) * b.astype(np.int64).sum(axis=(0, 2))).astype(np.int32)
    out, at, step = np.zeros(rows * columns, np.int32), np.arange(rows), CHOICES * group
    product(
        *((a ^ flip).ravel(), 0, at * length * step, rows, (0, 0, step)),
        *(b.ravel(), 0, columns, (0, 0, columns * group), (1, 1, length)),
        *(1 << 20, start, out, 0, at * columns, 0, False, picks),
    )
    assert out.tolist() == exact.ravel().tolist(), f"{kind.__name__}: the product of what is picked is wrong"


def check_sparse(kind: type[np.signedinteger]) -> None:
    """Rows with zeros, against every width of tiles: the sums are NumPy's."""
    random = np.random.default_rng(3)
    rows, columns, length, group = 6, 15 * COLUMN_MULTIPLE, 7, 4 // np.dtype(kind).itemsize
    a = random.integers(-128, 128, (rows, length, group)).astype(kind)
    a[random.random(a.shape) < 0.7] = 0
    b = random.integers(-128, 128, (length, columns, group)).astype(kind)
    values, places, ends = (np.zeros(rows * length + 1, np.int32) for _ in range(3))
    list_groups(a.ravel().view(np.int32), rows, length, values, places, ends)
    flip = FLIP if kind is np.int8 else kind(0)
    out = np.zeros(rows * columns, np.int32)
    sparse_product(
        *(values, places, ends, rows, (b ^ flip).ravel(), 0, columns, columns * group, 1 << 20),
        *(out, 0, np.arange(rows) * columns, 0),
    )
    exact = np.einsum("rlg,lcg->rc", a.astype(np.int64), b.astype(np.int64))
    assert out.tolist() == exact.ravel().tolist(), f"{kind.__name__}: the sparse product is wrong"


def weights_hash(bits: int) -> str:
    """The hash after some training steps at one width, errors included."""
    model = Model.build(
        s.ModelSpec(name="target", input_shape=(11, 13, 3), layers=LAYERS),
        s.FormatSpec(param_bits=bits, activation_bits=bits, error_bits=bits, adapt_every=2),
        s.OptimizerSpec(weight_decay=5e-4),
        seed=7,
    )
    step = TrainingStep(model, BATCH, threads=2)
    for number in range(STEPS):
        inputs = (draws(7, 1 << 31, number, BATCH * 429) >> 24).astype(np.uint8).reshape(BATCH, 11, 13, 3)
        labels = (draws(7, (1 << 31) + 1, number, BATCH) % 10).astype(np.int32)
        step.run(inputs, labels, Multiplier.from_real(0.05))
    return model.weights_sha256()


def main() -> None:
    """Say on stderr which instructions are used, on stdout what all must agree on."""
    told = " and ".join(filter(None, (HOST.quads, HOST.blocks))) or "the same"
    sys.stderr.write(f"int16 by {HOST.pairs or 'plain vectors'}, int8 by {told}\n")
    for kind in (np.int16, np.int8) if QUADS else (np.int16,):
        check_product(kind)
        check_sparse(kind)
        if PICKS:
            check_picks(kind)
    sys.stdout.write(" ".join(f"{bits}:{weights_hash(int(bits))}" for bits in sys.argv[1:]) + "\n")


if __name__ == "__main__":
    main()
