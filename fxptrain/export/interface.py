"""What a caller of an exported model has to know: its inputs and their scale, its classes, the prefix of its names.

``fxp_interface.h`` and ``fxp_interface.c`` are generated here. What does not belong here: what only the runtime needs
(`tables`).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.errors import FormatError
from fxptrain.export.layers import Network
from fxptrain.export.names import DEFAULT_PREFIX, c_string, in_comment, unique_identifiers
from fxptrain.export.tables import GENERATED, ROM, array, guarded
from fxptrain.fixed.format import FxP
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.run.evaluation import Run

MANTISSA_BITS, CENTRED_BITS, REAL_BITS, OFFSET_BITS = 30, 32, 61, 60  # of runtime/fxp_quantize.c
COARSEST, FINEST = -30, 61  # grids
LEAST_SHIFT = 11  # a rate with a mantissa of 15 bits and this shift is just under 16


@dataclass(frozen=True)
class Scale:
    """How real numbers become raw integers: ``(x + offset) * mantissa * 2^-shift``, x and offset with `grid` bits."""

    offset: int
    mantissa: int
    shift: int
    grid: int

    @classmethod
    def of(cls, mean: float, std: float, form: FxP) -> Scale:
        """The scale nearest to ``(x - mean) / std`` in the input's format.

        Raises
        ------
        FormatError
            If mean and standard deviation are too far apart for 64-bit integers.
        """
        centre, spread = Fraction(mean), Fraction(std)
        span = ((1 << (form.total_bits - 1)) + 1) * spread / Fraction(2) ** form.frac_bits  # beyond it all saturates
        grid = min(CENTRED_BITS - _exponent(span), FINEST)
        grid = min(grid, OFFSET_BITS - _exponent(abs(centre))) if centre else grid
        factor = Fraction(2) ** (form.frac_bits - grid) / spread
        shift = MANTISSA_BITS - _exponent(factor)
        mantissa = round(factor * Fraction(2) ** shift)
        if mantissa == 1 << MANTISSA_BITS:
            mantissa, shift = mantissa >> 1, shift - 1
        if not 1 <= shift <= REAL_BITS or grid < COARSEST:
            raise FormatError(
                f"Inputs with mean {mean} and standard deviation {std} cannot be quantized to {form} in 64-bit "
                "integers. Shift or scale them before training, so that the mean is not that far away."
            )
        return cls(-round(centre * Fraction(2) ** grid), mantissa, shift, grid)

    def raw(self, value: int, frac: int, form: FxP) -> int:
        """Raw integer of ``value * 2^-frac``: the rule of ``fxp_quantize_input``."""
        x = _saturated(round(value * Fraction(2) ** (self.grid - frac)), 1 << REAL_BITS)
        centred = _saturated(x + self.offset, 1 << CENTRED_BITS)
        return min(max(round(Fraction(centred * self.mantissa, 1 << self.shift)), form.min_raw), form.max_raw)


def _exponent(value: Fraction) -> int:
    """The smallest e with value < 2^e."""
    e = value.numerator.bit_length() - value.denominator.bit_length()
    return e + (value >= Fraction(2) ** e)


def _saturated(value: int, limit: int) -> int:
    return min(max(value, -limit), limit)


@dataclass(frozen=True)
class Interface:
    """What surrounds a network in an export.

    Parameters
    ----------
    prefix : str
        Of all names and files.
    classes : tuple of str
        Names of the classes; without them there are only numbers.
    pixels : bool
        Whether inputs are pixels, by way of a table; else real numbers.
    means, stds : tuple of float
        One for all inputs, or one for each channel.
    """

    prefix: str = DEFAULT_PREFIX
    classes: tuple[str, ...] = ()
    pixels: bool = True
    means: tuple[float, ...] = (0.0,)
    stds: tuple[float, ...] = (1.0,)

    def scales(self, form: FxP) -> list[Scale]:
        """How real inputs are quantized to `form`: one for all, or one for each channel."""
        return [Scale.of(mean, std, form) for mean, std in zip(self.means, self.stds, strict=True)]

    def quantized(self, values: npt.NDArray[np.int32], frac: int, form: FxP) -> npt.NDArray[Any]:
        """Raw integers (..., c) of ``values * 2^-frac`` as the exported C makes them."""
        scales = self.scales(form)
        flat = values.reshape(-1).tolist()
        found = [scales[i % len(scales)].raw(value, frac, form) for i, value in enumerate(flat)]
        return np.array(found, form.dtype).reshape(values.shape)


def interface_of(run: Run, prefix: str = DEFAULT_PREFIX) -> Interface:
    """The interface of a run: a recipe whose data have a `largest` was trained on real numbers."""
    data = run.recipe.data
    means, stds = (np.atleast_1d(np.array(given)) for given in (data.mean or 0.0, data.std or 1.0))
    means, stds = np.broadcast_arrays(means, stds)
    real = tuple(map(float, means)), tuple(map(float, stds))
    return Interface(prefix, run.classes, data.largest is None, *real)


# Text ------------------------------------------------------------------------------------------------------------


def header(net: Network, interface: Interface, rate: Multiplier, identity: int) -> str:
    """``fxp_interface.h``: constants of inputs and classes, and the mark that ties a caller to this model's code."""
    h, w, c = net.model.spec.input_shape
    stored = "uint8_t" if interface.pixels else "fxp_value"
    scales = net.model.table.size // 256 if interface.pixels else len(interface.means)
    lines = [
        f"/* A caller that includes one model's header and links another one's code does not link. */\n"
        f"#define fxp_init fxp_init_{identity:08x}",
        f"#define FXP_IDENTITY 0x{identity:08X}u",
        "",
        f"/* Inputs: {_inputs(net, interface)} */",
        f"#define FXP_PIXELS {int(interface.pixels)}",
        f"#define FXP_INPUT_H {h}\n#define FXP_INPUT_W {w}\n#define FXP_INPUT_C {c}",
        f"#define FXP_INPUT_SCALES {scales}\n#define FXP_TABLE_VALUES {256 * scales * interface.pixels}",
        f"#define FXP_INPUT_FRAC ({net.value.frac_bits})",
        f"typedef {stored} fxp_input;",
        "",
    ]
    if net.training:
        least = min(LEAST_SHIFT, rate.shift) if rate.mantissa else LEAST_SHIFT
        lines += [f"#define FXP_RATE_LEAST_SHIFT ({least})", ""]
    if interface.classes:
        names = [f"FXP_CLASS_{name.upper()}" for name in unique_identifiers(interface.classes)]
        texts = ", ".join(map(c_string, interface.classes))
        constants = ",\n    ".join(f"{name} = {number}" for number, name in enumerate(names))
        lines += [
            "/* const char *const names[FXP_OUTPUTS] = FXP_LABELS; takes memory only where that stands. */",
            f"#define FXP_LABELS {{{texts}}}",
            f"enum {{\n    {constants}\n}};",
            "",
        ]
    return guarded("FXP_INTERFACE_H", lines)


def _inputs(net: Network, interface: Interface) -> str:
    about = "pixels 0 to 255, by way of a table" if interface.pixels else "real numbers, by fxp_quantize_input"
    pairs = "; ".join(f"mean {mean!r}, std {std!r}" for mean, std in zip(interface.means, interface.stds, strict=True))
    return in_comment(f"{about}: (x - mean) / std in {net.value}, rounded half to even; {pairs}")


def explained(net: Network, interface: Interface, prefix: str | None = None) -> str:
    """How a caller makes inputs, for people; `prefix` is that of code that does not quantize real numbers itself."""
    quantizes, prefix = prefix is None, prefix or interface.prefix
    each = "" if len(interface.means) == 1 else " (of each channel)"
    scale = ", ".join(map(repr, interface.means)), ", ".join(map(repr, interface.stds))
    about = f"{net.value}, mean {scale[0]}, std {scale[1]}{each}"
    if interface.pixels:
        return (
            f"`inputs` are uint8 pixels, (h, w, c); a table makes ((p / 255) - mean) / std of them, in {about}. "
            f"`{prefix}_predict_raw` takes raw integers in that format instead."
        )
    if not quantizes:
        return f"`inputs` are raw integers, rounded half to even and saturated, of (x - mean) / std, in {about}."
    return (
        f"`inputs` are raw integers of (x - mean) / std, in {about}: `{prefix}_quantize_input(values, frac, inputs)` "
        "makes them of real numbers given as integers, x = value * 2^-frac, as the training data were. Whole numbers "
        "of a sensor have frac 0; a float becomes `(int32_t)(x * 65536)` with frac 16."
    )


def tables(net: Network, interface: Interface) -> str:
    """``fxp_interface.c``: what inputs become."""
    parts = [GENERATED, '#include "fxp_types.h"\n']
    if interface.pixels:
        comment = f"raw input of pixels 0 to 255: {net.value}"
        parts.append(array("fxp_value", "fxp_input_table", net.model.table, comment, static=False, space=ROM))
    else:
        rows = [f"{{{s.offset}, {s.mantissa}, {s.shift}, {s.grid}}}" for s in interface.scales(net.value)]
        body = ",\n    ".join(rows)
        parts.append(f"const fxp_input_scale fxp_input_scales[FXP_INPUT_SCALES] = {{\n    {body}\n}};\n")
    return "\n".join(parts)


def table_bytes(net: Network, interface: Interface) -> int:
    """Bytes of constants of `tables`."""
    return net.model.table.size * net.value.dtype.itemsize if interface.pixels else 24 * len(interface.means)
