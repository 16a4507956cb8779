"""Models that branch: residual blocks, tensors with several readers, joins of every kind."""

from collections.abc import Iterable
from dataclasses import replace

from fxptrain.nn import spec as s
from fxptrain.nn.layers.activation import ReLU
from fxptrain.nn.layers.add import Add
from fxptrain.nn.layers.layout import Concat
from fxptrain.nn.model import Model

BRANCHING: dict[str, tuple[s.LayerSpec, ...]] = {
    # two blocks; in the skip of the second a 1 x 1 convolution
    "residual": (
        s.Conv2d(channels=3, kernel=(3, 3), padding=(1, 1)),
        ReLU(name="stem"),
        s.Conv2d(channels=3, kernel=(3, 3), padding=(1, 1)),
        ReLU(),
        s.Conv2d(channels=3, kernel=(3, 3), padding=(1, 1), bias=False, name="first"),
        Add(inputs=("first", "stem")),
        ReLU(name="one"),
        s.Conv2d(channels=4, kernel=(3, 3), stride=(2, 2), padding=(1, 1)),
        ReLU(),
        s.Conv2d(channels=4, kernel=(3, 3), padding=(1, 1), name="second"),
        s.Conv2d(channels=4, kernel=(1, 1), stride=(2, 2), input="one", name="skip"),
        Add(inputs=("second", "skip")),
        ReLU(),
        s.GlobalAvgPool(),
        s.Linear(features=4),
    ),
    # three readers of one tensor, of which one is a pool that stands alone; a concatenation, activated
    "inception": (
        s.Conv2d(channels=2, kernel=(1, 1), name="a"),
        s.DepthwiseConv2d(kernel=(3, 3), padding=(1, 1), input="a", name="b"),
        s.Conv2d(channels=3, kernel=(3, 3), padding=(1, 1), input="a", name="c"),
        s.MaxPool2d(size=(2, 2), stride=(1, 1), input="a"),
        s.Conv2d(channels=1, kernel=(2, 2), padding=(1, 1), name="d"),
        Concat(inputs=("b", "a", "d", "c")),
        ReLU(),
        s.Linear(features=3),
    ),
    # the model's input has several readers, as a tensor read twice by one layer; an activation stands alone
    "input": (
        s.AvgPool2d(size=(3, 3), stride=(1, 1), input="input", name="mean"),
        s.Conv2d(channels=2, kernel=(3, 3), input="input", name="conv"),
        ReLU(input="conv", name="open"),
        Add(inputs=("mean", "mean", "conv", "open"), name="sum"),
        s.AvgPool2d(size=(2, 2), input="sum"),
        s.Flatten(name="means"),
        s.MaxPool2d(size=(2, 2), input="open"),
        s.Flatten(name="peaks"),
        Concat(inputs=("means", "peaks")),
        s.Linear(features=5, bias=False),
        ReLU(name="hidden"),
        s.Linear(features=5, name="turn"),
        Add(inputs=("turn", "hidden")),
    ),
    # a model whose output is a concatenation, and nothing has weights behind it
    "heads": (
        s.Conv2d(channels=2, kernel=(6, 6), name="left"),
        s.Conv2d(channels=3, kernel=(6, 6), input="input", name="right"),
        Concat(inputs=("right", "left")),
    ),
}


def activated(layers: Iterable[s.LayerSpec], activation: s.LayerSpec) -> tuple[s.LayerSpec, ...]:
    """Layers with another activation in the place of every ReLU."""
    return tuple(
        replace(activation, name=layer.name, input=layer.input) if isinstance(layer, ReLU) else layer
        for layer in layers
    )


def branching(
    name: str, *, loss: s.Loss = "cross-entropy", seed: int = 3, activation: s.LayerSpec | None = None,
    **options: object,
) -> Model:  # fmt: skip
    """A fresh model of one of these; options are those of formats, and `method`, `mask`, `forward`, `error`."""
    layers = activated(BRANCHING[name], activation or ReLU())
    optimizer = s.OptimizerSpec(
        method=options.pop("method", "sqpu"),
        saturation_mask=options.pop("mask", True),
        forward_rounding=options.pop("forward", "stochastic"),
        error_rounding=options.pop("error", "stochastic"),
    )
    spec = s.ModelSpec(name=name, input_shape=(6, 6, 2), layers=layers, loss=loss)
    return Model.build(spec, s.FormatSpec(**options), optimizer, seed=seed)
