"""Strategy of single layers with all their integers: what a layer's forward and backward need to be judged.

What does not belong here: sequences of layers (`models`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields

from hypothesis import assume
from hypothesis import strategies as st

from fxptrain.errors import RecipeError, ShapeError
from fxptrain.fixed.array import FxPArray
from fxptrain.fixed.format import FxP
from fxptrain.nn.layers.contract import LayerSpec, Stage
from fxptrain.nn.layers.registry import layer_kinds, type_of
from fxptrain.testing.numbers import formats, fxp_arrays

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class LayerCase:
    """One layer, its parameters and an input that fits it.

    Attributes
    ----------
    layer : LayerSpec
        Geometry.
    inputs : FxPArray (n, h, w, c)
        Input of the layer.
    weights : FxPArray or None
        (kh, kw, ci, co) of a convolution, (kh, kw, c) of a depthwise one, (h * w * c, features) of a linear layer.
    bias : FxPArray or None
        (co,), in the format of the weights.
    output_format : FxP
        Format that the layer's output is requantized to.
    output_shape : tuple of int
        Shape of the output, the sample first.
    """

    layer: LayerSpec
    inputs: FxPArray
    weights: FxPArray | None
    bias: FxPArray | None
    output_format: FxP
    output_shape: Shape


def _stage(layer: LayerSpec, shapes: Sequence[Shape]) -> Stage:
    return layer.stage(0, layer.type, [(h, w, c) for h, w, c in shapes])


def output_shape(layer: LayerSpec, *shapes: Shape) -> Shape:
    """Shape (h, w, c) of a sample after the layer, for input samples of these shapes."""
    h, w, c = shapes[0]
    view = layer.view((h, w, c))
    return _stage(layer, shapes).out_shape if view is None else view


def weight_shape(layer: LayerSpec, shape: Shape) -> Shape | None:
    """Shape of the layer's weights for an input sample of `shape`; None for a layer without parameters."""
    h, w, c = shape
    return None if layer.view((h, w, c)) else _stage(layer, [shape]).parameter_shapes.get("weights")


def single_input_kinds() -> list[type[LayerSpec]]:
    """All registered kinds of layers that read one tensor."""
    return [kind for kind in layer_kinds().values() if kind.least_inputs == 1]


@st.composite
def layer_specs(draw: st.DrawFn, shape: Shape, kinds: Sequence[type[LayerSpec]] | None = None) -> LayerSpec:
    """Layers of the given kinds, by default of all that read one tensor, that an input sample of `shape` fits into.

    Options are drawn from what the kind itself says is worth a try (`LayerSpec.choices`).
    """
    h, w, c = shape
    fit = [kind for kind in kinds or single_input_kinds() if all(map(len, kind.choices([(h, w, c)]).values()))]
    kind = draw(st.sampled_from(fit))
    options = {name: draw(st.sampled_from(list(values))) for name, values in kind.choices([(h, w, c)]).items()}
    if not options.get("bias", True):
        options["bias_shift"] = 0  # there is none to shift
    missing = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    unsaid = [name for name in missing if name not in options]
    if unsaid:
        raise RecipeError(f"Layers of type {type_of(kind)!r} have no `choices` of {', '.join(unsaid)}; add them.")
    layer = kind(**options)
    try:
        output_shape(layer, shape)
    except ShapeError:
        assume(False)
    return layer


@st.composite
def layer_cases(
    draw: st.DrawFn, *, kinds: Sequence[type[LayerSpec]] | None = None, max_bits: int = 16, max_batch: int = 3
) -> LayerCase:
    """Single layers of the given kinds with input and parameters."""
    shape = (draw(st.integers(1, 7)), draw(st.integers(1, 7)), draw(st.integers(1, 4)))
    layer = draw(layer_specs(shape, kinds))
    chosen = formats(max_bits=max_bits, min_frac=-4, max_frac=20)
    parameter_format = draw(chosen)
    weights = weight_shape(layer, shape)
    has_bias = weights is not None and getattr(layer, "bias", False)
    bias_format = parameter_format.with_frac(parameter_format.frac_bits - layer.coarser_bias)
    batch = draw(st.integers(1, max_batch))
    return LayerCase(
        layer=layer,
        inputs=draw(fxp_arrays(chosen, (batch, *shape))),
        weights=None if weights is None else draw(fxp_arrays(parameter_format, weights)),
        bias=draw(fxp_arrays(bias_format, weights[-1:])) if has_bias and weights is not None else None,
        output_format=draw(chosen),
        output_shape=(batch, *output_shape(layer, shape)),
    )
