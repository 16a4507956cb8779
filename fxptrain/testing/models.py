"""Strategies of small whole models and of the formats and optimizers to train them with.

Layers are drawn from the registry, so that none escapes the tests of whole models. What does not belong here:
parameters and data; a `ModelSpec` says how many there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

from hypothesis import strategies as st

from fxptrain.errors import ShapeError
from fxptrain.nn.layers.contract import LayerSpec
from fxptrain.nn.layers.registry import layer_kinds
from fxptrain.nn.layers.weighted import WeightedSpec
from fxptrain.nn.spec import Flatten, FormatSpec, GlobalAvgPool, Linear, Loss, ModelSpec, OptimizerSpec, ReLU, Target
from fxptrain.testing.layers import Shape, layer_specs, output_shape, single_input_kinds

ENDS = (Linear, Flatten, GlobalAvgPool)  # behind which a map has one position

_GOALS: tuple[tuple[Loss, Target], ...] = (
    ("cross-entropy", "class"), ("squared-error", "class"), ("binary-cross-entropy", "labels"),
    ("squared-error", "values"),
)  # fmt: skip


class _Growing:
    """Layers so far, and the shapes of their outputs; a layer that another one names gets a name."""

    def __init__(self, shape: Shape) -> None:
        self.layers: list[LayerSpec] = []
        self.shapes: list[Shape] = [shape]  # the input's, then every layer's

    @property
    def shape(self) -> Shape:
        """Shape of the last output."""
        return self.shapes[-1]

    def append(self, layer: LayerSpec) -> None:
        """One more layer that reads the last output."""
        self.layers.append(layer)
        self.shapes.append(output_shape(layer, self.shape))

    def name(self, tensor: int) -> str:
        """Name of the input (0) or of a layer's output."""
        if tensor == 0:
            return "input"
        if self.layers[tensor - 1].name is None:
            self.layers[tensor - 1] = replace(self.layers[tensor - 1], name=f"t{tensor}")
        return str(self.layers[tensor - 1].name)

    def branch(self, layer: LayerSpec, tensor: int) -> None:
        """One more layer, which reads an earlier tensor."""
        shape = output_shape(layer, self.shapes[tensor])
        self.layers.append(replace(layer, input=self.name(tensor)))
        self.shapes.append(shape)

    def joints(self) -> list[tuple[type[LayerSpec], tuple[int, ...]]]:
        """Kinds of layers that read several tensors, with those that fit beside the last one."""
        last = len(self.shapes) - 1
        found: list[tuple[type[LayerSpec], tuple[int, ...]]] = []
        for kind, other in product(layer_kinds().values(), range(last + 1)):
            if kind.least_inputs == 2 and self._fits(kind, (last, other)):
                found.append((kind, (last, other)))
        return found

    def _fits(self, kind: type[LayerSpec], tensors: Sequence[int]) -> bool:
        try:
            output_shape(kind(), *(self.shapes[tensor] for tensor in tensors))
        except ShapeError:
            return False
        return True

    def join(self, kind: type[LayerSpec], tensors: Sequence[int]) -> None:
        """One more layer, which reads several tensors."""
        shape = output_shape(kind(), *(self.shapes[tensor] for tensor in tensors))
        self.layers.append(kind(inputs=tuple(self.name(tensor) for tensor in tensors)))
        self.shapes.append(shape)


@st.composite
def model_specs(
    draw: st.DrawFn, *, max_side: int = 8, max_channels: int = 3, max_stages: int = 3, max_classes: int = 5,
    graphs: bool = True, frozen: bool = False, vectors: bool = False,
) -> ModelSpec:  # fmt: skip
    """Models of a few layers of every registered kind, then linear ones, the last of them without activation.

    With `graphs`, layers also read earlier tensors: two of one kind side by side, then what joins tensors; and
    activations stand anywhere. With `frozen`, training changes only some of the layers, or of some the biases alone or
    a share of the channels.
    With `vectors`, targets may be labels or values. Classes and labels may have weights, and smooth targets.
    """
    height, width = draw(st.integers(1, max_side)), draw(st.integers(2, max_side))  # of height 1: a series
    input_shape = (height, width, draw(st.integers(1, max_channels)))
    grown = _Growing(input_shape)
    kinds = [kind for kind in single_input_kinds() if kind not in ENDS]
    bodies = kinds if graphs else [kind for kind in kinds if not _activates(kind)]
    for _ in range(draw(st.integers(0, max_stages))):
        before = len(grown.shapes) - 1
        layer = draw(layer_specs(grown.shape, bodies))
        grown.append(layer)
        if graphs and draw(st.booleans()):
            if draw(st.booleans()) and layer.function is None:
                grown.branch(layer, before)
            joints = grown.joints()
            if len(grown.layers) > before + 1:  # two side by side: they must meet
                joints = [(kind, (before + 2, before + 1)) for kind, tensors in joints if tensors[1] == before + 1]
            if joints:
                grown.join(*draw(st.sampled_from(joints)))
        elif layer.function is None and draw(st.booleans()):
            grown.append(draw(layer_specs(grown.shape, [k for k in kinds if _activates(k)])))
    tails: list[list[LayerSpec]] = [[], [Flatten()], [GlobalAvgPool()], [GlobalAvgPool(), Flatten()]]
    for tail in draw(st.sampled_from(tails)):
        grown.append(tail)
    if draw(st.booleans()):
        grown.append(Linear(features=draw(st.integers(1, 8)), bias=draw(st.booleans())))
        grown.append(ReLU())
    grown.append(Linear(features=draw(st.integers(2, max_classes)), bias=draw(st.booleans())))
    loss, target = draw(st.sampled_from([goal for goal in _GOALS if vectors or goal[1] == "class"]))
    if frozen:
        grown.layers = draw(_partly_trained(grown.layers))
    spec = ModelSpec(name="drawn", input_shape=input_shape, layers=tuple(grown.layers), loss=loss, target=target)
    if target != "values" and draw(st.booleans()):
        weights = [st.sampled_from([1.0, 0.0, 0.25, 3.3, 1024.0])] * grown.shape[2]
        spec = replace(spec, class_weights=draw(st.tuples(*weights).filter(any)))
    if loss != "squared-error" and draw(st.booleans()):
        spec = replace(spec, label_smoothing=draw(st.sampled_from([0.0, 0.1, 0.999])))
    return spec


@st.composite
def _partly_trained(draw: st.DrawFn, layers: Sequence[LayerSpec]) -> list[LayerSpec]:
    """The same layers, of which at least one is trained."""
    can = [i for i, layer in enumerate(layers) if hasattr(layer, "trainable")]
    always, found = draw(st.sampled_from(can)), list(layers)
    for i in can:
        some = ["bias"] if getattr(layers[i], "bias", False) else []
        if isinstance(layers[i], WeightedSpec) and getattr(layers[i], "groups", 1) == 1:
            some += ["1/2", "1/3"]
        trainable = draw(st.sampled_from([True, *some] if i == always else [True, False, False, *some]))
        found[i] = replace(layers[i], trainable=trainable)  # type: ignore[call-arg]
    return found


def _activates(kind: type[LayerSpec]) -> bool:
    """Whether layers of a kind are functions of each value."""
    return kind.function is not LayerSpec.function


@st.composite
def format_specs(draw: st.DrawFn, *, min_bits: int = 4, max_bits: int = 16) -> FormatSpec:
    """Widths for training; with binary points for mode ``fixed``."""
    bits = st.integers(min_bits, max_bits)
    param_bits, activation_bits = draw(bits), draw(bits)
    widths = FormatSpec(
        param_bits=param_bits,
        activation_bits=activation_bits,
        momentum_bits=draw(st.one_of(st.none(), st.integers(8, 16))),
        error_bits=draw(st.sampled_from([8, 16])),
        saturation=draw(st.one_of(st.none(), st.integers(1, 12))),
    )
    if draw(st.booleans()):
        return replace(widths, mode="auto", adapt_every=draw(st.integers(1, 5)))
    return replace(
        widths,
        mode="fixed",
        param_frac=draw(st.integers(param_bits - 4, param_bits)),
        activation_frac=draw(st.integers(max(activation_bits - 6, 0), activation_bits - 1)),
        momentum_frac=draw(st.one_of(st.none(), st.just("param"), st.integers(4, 12))),
    )


def optimizer_specs() -> st.SearchStrategy[OptimizerSpec]:
    """All methods and roundings, with and without momentum, feedback, decay and mask."""
    roundings = st.sampled_from(["stochastic", "half-even"])
    specs = st.builds(
        OptimizerSpec,
        method=st.sampled_from(["sqpu", "hteqpu", "ste"]),
        momentum=st.sampled_from([0.0, 0.5, 0.9]),
        weight_decay=st.sampled_from([0.0, 0.0005]),
        saturation_mask=st.booleans(),
        forward_rounding=roundings,
        error_rounding=roundings,
    )
    return st.tuples(specs, st.booleans()).map(_perhaps_with_feedback)


def _perhaps_with_feedback(drawn: tuple[OptimizerSpec, bool]) -> OptimizerSpec:
    """A specification with feedback, if it is wanted and can be."""
    spec, wanted = drawn
    return replace(spec, error_feedback=wanted and spec.momentum > 0 and spec.method != "ste")
