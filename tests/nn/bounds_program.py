"""What `test_bounds` runs with ``NUMBA_BOUNDSCHECK=1``: an index that leaves its array raises, wherever it is."""

from fxptrain.fixed.format import FxP
from fxptrain.nn import spec as s
from tests.nn.single import Formats, Single

CASES = (
    ((s.Conv2d(channels=5, kernel=(3, 2), padding=(1, 2)), s.MaxPool2d(size=(2, 2)), s.ReLU()), (7, 6, 3), 11),
    ((s.Conv2d(channels=17, kernel=(2, 3), stride=(2, 1)),), (6, 5, 9), 2),
    ((s.Linear(features=5),), (1, 2, 3), 17),
    ((s.Linear(features=1),), (2, 4, 8), 1),
)


def main() -> None:
    """Every case at 8 bits and at 16, one thread's blocks and two threads'."""
    for bits in (8, 16):
        form = FxP(bits, 3)
        forms = Formats(x=form, y=form, w=form, error=form, input_error=form.with_frac(1))
        for seed, (layers, shape, samples) in enumerate(CASES):
            for threads in (1, 2):
                single = Single(layers, shape, forms, seed)
                single.check(samples, stochastic=True, mask=True, producer_relu=True, threads=threads)


if __name__ == "__main__":
    main()
