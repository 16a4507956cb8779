"""``--to header``: weights alone, as one C header for code that computes by itself.

What does not belong here: the runtime (`c99`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fxptrain.export.c99 import network_of, sizes
from fxptrain.export.interface import Interface, interface_of
from fxptrain.export.layers import Layer, Network
from fxptrain.export.names import DEFAULT_PREFIX, identifier, in_comment
from fxptrain.export.plan import plan
from fxptrain.export.source import Options, write_export
from fxptrain.export.tables import GENERATED, about, array, c_type
from fxptrain.fixed.format import FxP
from fxptrain.run.evaluation import Run


def _formats(name: str, form: FxP) -> list[str]:
    """Widths of a tensor as constants; an enumeration takes negative numbers without surprises."""
    return [f"enum {{ {name}_BITS = {form.total_bits}, {name}_FRAC = {form.frac_bits} }};"]


def _layer(layer: Layer, prefix: str) -> list[str]:
    """Constants and arrays of one layer, in the engine's order: (kh, kw, ci, co), (kh, kw, c) or (in, out)."""
    stage = layer.stage
    name = f"{prefix}_{stage.layer}"
    parts = [f"\n/* {stage.title}: {stage.in_shape} to {stage.out_shape} */"]
    parts += _formats(f"{name}_output".upper(), stage.y_form.format)
    for parameter in stage.parameters:
        form = parameter.format
        if not parameter.is_bias or parameter.coarser:
            parts += _formats(f"{name}_{parameter.name}".upper(), form)
        text = about(
            f"{stage.name}, {parameter.name}", form, parameter.flat, " x ".join(map(str, parameter.values.shape))
        )
        parts.append(array(c_type(form), f"{name}_{parameter.name}", parameter.flat, text))
    return parts


def _inputs(net: Network, interface: Interface, prefix: str) -> list[str]:
    """What inputs become: a table of pixels, or the scale of real numbers."""
    if interface.pixels:
        of = " of each channel" if len(interface.means) > 1 else ""
        text = f"raw input of pixels 0 to 255{of}"
        return [array(c_type(net.value), f"{prefix}_input_table", interface.table(net.model), text)]
    pairs = zip(interface.means, interface.stds, strict=True)
    scales = [in_comment(f"(x - {mean!r}) / {std!r}") for mean, std in pairs]
    rows = ",\n    ".join(f"{{{s.offset}, {s.mantissa}, {s.shift}, {s.grid}}}" for s in interface.scales(net.value))
    of = "of each channel" if len(scales) > 1 else "of all inputs"
    return [
        f"/* Real inputs, {of}: {'; '.join(scales)}, rounded half to even and saturated. In integers:\n"
        " * raw = (x + offset) * mantissa * 2^-shift, where x and offset have `grid` fractional bits. */",
        "static const struct { int64_t offset; int32_t mantissa, shift, grid; } "
        f"{prefix}_input_scales[{len(scales)}] = {{",
        f"    {rows}\n}};\n",
    ]


def header(net: Network, interface: Interface, prefix: str) -> str:
    """Text of the header."""
    guard = f"{prefix}_WEIGHTS_H".upper()
    parts = [GENERATED, f"#ifndef {guard}", f"#define {guard}", "", "#include <stdint.h>", ""]
    parts += ["/* real = raw * 2^-FRAC. A bias has the format of its layer's weights, or one of its own. */"]
    parts += _formats(f"{prefix}_input".upper(), net.value)
    parts += _inputs(net, interface, prefix)
    for layer in net.layers:
        parts += _layer(layer, prefix)
    return "\n".join([*parts, "", "#endif", ""])


def export_header(run: Run, directory: Path, options: Options) -> dict[str, Any]:
    """Write ``<prefix, or recipe>_weights.h``."""
    net, interface = network_of(run, options, "The header of weights"), interface_of(run, options.prefix)
    prefix = options.prefix if options.prefix != DEFAULT_PREFIX else identifier(run.recipe.name)
    files = {f"{prefix}_weights.h": header(net, interface, prefix)}
    return {"files": write_export(run, options, directory, files), "sizes": sizes(net, plan(net), interface)}
