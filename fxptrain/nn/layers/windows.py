"""Windows that slide over an image: their extents, steps and spacing, the zeros around the image, and their number.

What does not belong here: what is computed in a window.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from fxptrain.errors import ShapeError
from fxptrain.sizes import MAX_ELEMENTS

Pair = tuple[int, int]
Sides = tuple[int, int, int, int]
Padding = Pair | Sides | Literal["same"]
BOTH: Pair = (1, 1)
NONE: Sides = (0, 0, 0, 0)


class Windows(NamedTuple):
    """All windows of an image (h, w).

    Parameters
    ----------
    kernel, stride : (int, int)
        Taps of a window along height and width, and the steps from one window to the next.
    padding : (top, left, bottom, right)
        Zeros around the image.
    dilation : (int, int)
        Steps from one tap to the next.
    apart : (int, int)
        Steps from one value of the image to the next, with zeros between.
    """

    kernel: Pair = BOTH
    stride: Pair = BOTH
    padding: Sides = NONE
    dilation: Pair = BOTH
    apart: Pair = BOTH

    @property
    def extent(self) -> Pair:
        """From a window's first tap to its last, along height and width."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True))  # type: ignore[return-value]

    def padded(self, shape: tuple[int, ...]) -> Pair:
        """Height and width of an image (h, w, ...) with its padding."""
        top, left, bottom, right = self.padding
        h, w = ((n - 1) * step + 1 for n, step in zip(shape[:2], self.apart, strict=True))
        return h + top + bottom, w + left + right

    def number(self, shape: tuple[int, ...]) -> Pair:
        """How many windows fit into an image (h, w, ...) along each axis; a last one that does not is dropped."""
        (h, w), (kh, kw) = self.padded(shape), self.extent
        return (h - kh) // self.stride[0] + 1, (w - kw) // self.stride[1] + 1

    def check(self, name: str, shape: tuple[int, ...]) -> None:
        """Raise `ShapeError` unless a window fits into the padded image of the layer `name`."""
        if min(*self.kernel, *self.stride, *self.dilation) < 1 or min(self.padding) < 0:
            raise ShapeError(
                f"Layer {name!r}: kernel {self.kernel}, stride {self.stride} and dilation {self.dilation} must be "
                f"positive, padding {self.padding} at least 0."
            )
        if (most := max(*self.kernel, *self.stride, *self.padding, *self.dilation)) > MAX_ELEMENTS:
            raise ShapeError(
                f"Layer {name!r}: its window says {most}; no number there may be more than {MAX_ELEMENTS}."
            )
        for axis, (image, window) in enumerate(zip(self.padded(shape), self.extent, strict=True)):
            if image < window:
                raise ShapeError(
                    f"Layer {name!r}: window {self.extent} is larger than its input {shape[:2]} with padding "
                    f"{self.padding} along axis {axis}. Use a smaller window or more padding."
                )


def sides_of(padding: Padding, shape: tuple[int, ...], windows: Windows) -> Sides:
    """Zeros at the top, left, bottom and right of an image, from what a layer says.

    Parameters
    ----------
    padding : (int, int), (int, int, int, int) or "same"
        Zeros at both ends of height and width; at the top, left, bottom and right; or as many as make
        ``ceil(extent / stride)`` windows, an odd one at the bottom or right (TensorFlow's ``SAME``).
    shape : (h, w, ...)
        Of the image.
    windows : Windows
        What is padded for.
    """
    if padding == "same":
        steps = zip(shape[:2], windows.extent, windows.stride, strict=True)
        missing = [max((-(-n // step) - 1) * step + extent - n, 0) for n, extent, step in steps]
        top, left = (number // 2 for number in missing)
        return top, left, missing[0] - top, missing[1] - left
    if len(padding) == 2:
        return (*padding, *padding)
    return padding
