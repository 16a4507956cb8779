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

from fxptrain.data.normalization import PIXEL_MAX, Normalization
from fxptrain.data.scaling import ChannelScale, ChannelScales
from fxptrain.export.layers import Network
from fxptrain.export.names import DEFAULT_PREFIX, c_string, in_comment, unique_identifiers
from fxptrain.export.tables import GENERATED, ROM, array, guarded
from fxptrain.fixed.format import FxP
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.nn.model import Model
from fxptrain.run.evaluation import Run

LEAST_SHIFT = 11  # a rate with a mantissa of 15 bits and this shift is just under 16
MOST_TABLES = 4  # of pixels: those of an image's channels; more of them take more flash than a multiplication is worth


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
        Whether inputs are pixels, by way of tables; else real numbers.
    means, stds : tuple of float
        One for all inputs, or one for each channel.
    integers : tuple of ChannelScale, optional
        What a run's checkpoint keeps of them; without it they are made anew, and pixels have one table in common.
    """

    prefix: str = DEFAULT_PREFIX
    classes: tuple[str, ...] = ()
    pixels: bool = True
    means: tuple[float, ...] = (0.0,)
    stds: tuple[float, ...] = (1.0,)
    integers: tuple[ChannelScale, ...] | None = None

    def scales(self, form: FxP) -> list[ChannelScale]:
        """How real inputs are quantized to `form`: one for all, or one for each channel."""
        if self.integers is not None:
            return list(self.integers)
        pairs = zip(self.means, self.stds, strict=True)
        return [ChannelScale.of(Normalization(mean, std), form) for mean, std in pairs]

    def table(self, model: Model) -> npt.NDArray[Any]:
        """Raw integers of the pixels 0 to 255: (1, 256), or (channels, 256)."""
        if self.integers is None:
            return model.table[None]
        every = np.arange(PIXEL_MAX + 1)[:, None].repeat(len(self.integers), axis=1)
        return ChannelScales(self.integers, model.input_form.format, pixels=True).quantize(every).T

    def quantized(self, values: npt.NDArray[np.int32], frac: int, form: FxP) -> npt.NDArray[Any]:
        """Raw integers (..., c) of ``values * 2^-frac`` as the exported C makes them."""
        scales = self.scales(form)
        flat = values.reshape(-1).tolist()
        found = [scales[i % len(scales)].raw(Fraction(value, 1 << frac), form) for i, value in enumerate(flat)]
        return np.array(found, form.dtype).reshape(values.shape)


def interface_of(run: Run, prefix: str = DEFAULT_PREFIX) -> Interface:
    """The interface of a run: pixels by way of tables, or numbers that `fxp_quantize_input` takes.

    Pixels with scales for more than `MOST_TABLES` columns are such numbers, 0 to 255.
    """
    rule = run.inputs
    by_table = rule.pixels and (rule.scales is None or len(rule.scales.channels) <= MOST_TABLES)
    unit = PIXEL_MAX if rule.pixels and not by_table else 1
    norms = rule.norms if rule.scales is not None else rule.norms[:1]
    means, stds = tuple(norm.mean * unit for norm in norms), tuple(norm.std * unit for norm in norms)
    integers = None if rule.scales is None else rule.scales.channels
    classes = run.classes if run.recipe.model.target == "class" else ()
    return Interface(prefix, classes, by_table, means, stds, integers)


# Text ------------------------------------------------------------------------------------------------------------


def header(net: Network, interface: Interface, rate: Multiplier, identity: int) -> str:
    """``fxp_interface.h``: constants of inputs and classes, and the mark that ties a caller to this model's code."""
    h, w, c = net.model.spec.input_shape
    stored = "uint8_t" if interface.pixels else "fxp_value"
    scales = len(interface.table(net.model)) if interface.pixels else len(interface.means)
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
            f"`inputs` are uint8 pixels, (h, w, c); tables make ((p / 255) - mean) / std of them, in {about}. "
            f"`{prefix}_predict_raw` takes raw integers in that format instead."
        )
    if not quantizes:
        return f"`inputs` are raw integers, rounded half to even and saturated, of (x - mean) / std, in {about}."
    return (
        f"`inputs` are raw integers of (x - mean) / std, in {about}: `{prefix}_quantize_input(values, frac, inputs)` "
        "makes them of real numbers given as integers, x = value * 2^-frac, as the training data were. Whole numbers "
        "of a sensor have frac 0; a float becomes `(int32_t)(x * 65536)` with frac 16."
    )


def _of_channels(interface: Interface) -> str:
    return ", one channel after the other" if len(interface.means) > 1 else ""


def tables(net: Network, interface: Interface) -> str:
    """``fxp_interface.c``: what inputs become."""
    parts = [GENERATED, '#include "fxp_types.h"\n']
    if interface.pixels:
        comment = f"raw input of pixels 0 to 255{_of_channels(interface)}: {net.value}"
        parts.append(
            array("fxp_value", "fxp_input_table", interface.table(net.model), comment, static=False, space=ROM)
        )
    else:
        rows = [f"{{{s.offset}, {s.mantissa}, {s.shift}, {s.grid}}}" for s in interface.scales(net.value)]
        body = ",\n    ".join(rows)
        parts.append(f"const fxp_input_scale fxp_input_scales[FXP_INPUT_SCALES] = {{\n    {body}\n}};\n")
    return "\n".join(parts)


def table_bytes(net: Network, interface: Interface) -> int:
    """Bytes of constants of `tables`."""
    return interface.table(net.model).nbytes if interface.pixels else 24 * len(interface.means)
