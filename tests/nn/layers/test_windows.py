"""Windows on an image: how many, where they begin, and what is refused."""

from __future__ import annotations

import pytest

from fxptrain.errors import ShapeError
from fxptrain.nn.layers.windows import NONE, Windows, sides_of


@pytest.mark.parametrize(
    ("length", "kernel", "stride", "dilation", "before", "after", "windows"),
    [
        (32, 3, 2, 1, 0, 1, 16),  # ResNet's: an odd zero goes last
        (32, 3, 1, 1, 1, 1, 32),
        (33, 3, 2, 1, 1, 1, 17),
        (5, 2, 1, 1, 0, 1, 5),
        (49, 10, 2, 1, 4, 5, 25),  # DS-CNN's first layer, along time
        (10, 4, 2, 1, 1, 1, 5),
        (10, 1, 3, 1, 0, 0, 4),  # windows lie apart: nothing is missing
        (10, 3, 1, 4, 4, 4, 10),
        (9, 4, 2, 3, 4, 5, 5),
    ],
)
def test_same(length: int, kernel: int, stride: int, dilation: int, before: int, after: int, windows: int) -> None:
    """TensorFlow's ``SAME``: as many windows as strides begin in the image."""
    asked = Windows((kernel, 1), (stride, 1), dilation=(dilation, 1))
    sides = sides_of("same", (length, 7, 2), asked)
    assert sides == (before, 0, after, 0)
    assert asked._replace(padding=sides).number((length, 7, 2)) == (windows, 7)


def test_sides() -> None:
    """Two numbers are both ends of each axis; four are the sides themselves."""
    assert sides_of((1, 2), (5, 5, 1), Windows()) == (1, 2, 1, 2)
    assert sides_of((0, 1, 2, 3), (5, 5, 1), Windows()) == (0, 1, 2, 3)


def test_number() -> None:
    """A window that does not fit is dropped; dilation spreads it."""
    assert Windows((2, 3), (2, 1), (0, 1, 1, 0), (3, 1)).number((6, 4)) == (2, 3)
    assert Windows((2, 3), dilation=(3, 2)).extent == (4, 5)


@pytest.mark.parametrize(
    ("windows", "message"),
    [
        (Windows((0, 1)), r"kernel \(0, 1\), stride \(1, 1\) and dilation \(1, 1\) must be positive"),
        (Windows(dilation=(1, 0)), r"dilation \(1, 0\) must be positive"),
        (Windows(padding=(0, 0, -1, 0)), r"padding \(0, 0, -1, 0\) at least 0"),
        (
            Windows(stride=(1 << 70, 1), padding=(1 << 70, 0, 0, 0)),
            r"its window says 1180591620717411303424; no number",
        ),
        (Windows((3, 3), dilation=(1, 3)), r"window \(3, 7\) is larger than its input \(6, 6\) .* along axis 1"),
    ],
)
def test_misfits(windows: Windows, message: str) -> None:
    """The error names the layer, the windows and the axis."""
    with pytest.raises(ShapeError, match=f"Layer 'a'.*{message}"):
        windows.check("a", (6, 6, 1))


def test_all_of_an_image() -> None:
    """A window as large as the padded image fits once."""
    windows = Windows((6, 8), padding=(0, 1, 0, 1))
    windows.check("a", (6, 6, 1))
    assert windows.number((6, 6, 1)) == (1, 1)
    assert Windows().padding == NONE
