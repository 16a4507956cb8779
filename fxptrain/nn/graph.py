"""From a model's specification to executable stages: names resolved, shapes checked, what can be absorbed absorbed.

A *tensor* is what a stage writes; its number is its stage's, and `INPUT` (-1) is the model's input. Stages stand in an
order in which every one comes after those it reads; their *layer* numbers are those of the specification, so that the
order of running moves no draws. Absorbing is exact (rounding is monotone), so it changes no bit; see
`fixed/ARITHMETIC.md`. What does not belong here: formats and parameters (`model`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from fxptrain.errors import RecipeError, ShapeError, suggestion
from fxptrain.names import file_name, shown
from fxptrain.nn.layers.contract import IDENTITY, INPUT, LayerSpec, Shape, Stage
from fxptrain.nn.spec import ModelSpec
from fxptrain.nn.state.channels import number_of, share_of

MODEL_INPUT = "input"  # what layers call the model's input
MAX_COARSER_BIAS = 8
LEARNED = ("weights", "bias")  # parameters that training may change; it may measure others


class Reading(NamedTuple):
    """What a layer reads.

    Parameters
    ----------
    tensor : int
        Number of the stage that writes it, or `INPUT`.
    shape : (h, w, c)
        In which it is handed on.
    """

    tensor: int
    shape: Shape


class Reader(NamedTuple):
    """Who reads a tensor.

    Parameters
    ----------
    stage : int
        Number of the stage.
    slot : int
        Which of its inputs the tensor is.
    """

    stage: int
    slot: int


@dataclass(frozen=True)
class Graph:
    """Executable stages in running order; the last one's output is the model's.

    Attributes
    ----------
    stages : list of Stage
    readers : list of tuple of Reader
        For every stage, who reads its output, in running order.

    Notes
    -----
    What training keeps and computes follows from the parameters that the stages train: a tensor's error is needed where
    a trained parameter had a part in it (`needs_error`), its values where an error comes back to it or its reader's
    weights are trained (`is_saved`). Steps, plans, states and the exported C all ask here.
    """

    stages: list[Stage]
    readers: list[tuple[Reader, ...]]

    @cached_property
    def gathers(self) -> bool:
        """Whether a stage needs sums over the whole batch."""
        return any(stage.gathering is not None for stage in self.stages)

    @property
    def is_chain(self) -> bool:
        """Whether every stage reads the one before and nothing else."""
        return all(stage.inputs == (i - 1,) for i, stage in enumerate(self.stages))

    @cached_property
    def _needed(self) -> list[bool]:
        needed: list[bool] = []
        for stage in self.stages:
            needed.append(bool(stage.trains) or any(needed[tensor] for tensor in stage.inputs if tensor != INPUT))
        return needed

    def needs_error(self, tensor: int) -> bool:
        """Whether training needs a tensor's error: whether it depends on a parameter that is trained."""
        return tensor != INPUT and self._needed[tensor]

    def handed_back(self, stage: int) -> list[tuple[int, int]]:
        """Slots and tensors of a stage's inputs whose errors are needed."""
        return [(slot, tensor) for slot, tensor in enumerate(self.stages[stage].inputs) if self.needs_error(tensor)]

    def hands_back(self, stage: int) -> bool:
        """Whether anybody wants the error at a stage's inputs."""
        return bool(self.handed_back(stage))

    def training_macs(self, stage: int) -> int:
        """Products of a stage for one sample of training: forward, in the input error if it is needed, in gradients."""
        one = self.stages[stage]
        gradient = one.macs * one.trains_weights
        if one.some is not None:
            gradient = gradient * one.some // one.out_shape[2]
        return one.macs * (1 + self.hands_back(stage)) + gradient

    def joins(self, tensor: int) -> bool:
        """Whether a tensor's error is the sum of several readers' contributions."""
        return len(self.readers[tensor]) > 1 and self.needs_error(tensor)

    def readers_of(self, tensor: int) -> tuple[Reader, ...]:
        """Who reads a tensor, or the model's input, in running order."""
        if tensor != INPUT:
            return self.readers[tensor]
        pairs = ((i, slot, read) for i, stage in enumerate(self.stages) for slot, read in enumerate(stage.inputs))
        return tuple(Reader(i, slot) for i, slot, read in pairs if read == INPUT)

    def handed_last(self, tensor: int) -> int:
        """The last stage, in the order back, that hands back an error of a tensor: then the error is complete."""
        return self.readers[tensor][0].stage

    def is_saved(self, tensor: int) -> bool:
        """Whether the backward pass reads a tensor's values: to let errors pass, or for the gradient of weights."""
        return self.needs_error(tensor) or any(self.stages[i].trains_weights for i, _ in self.readers_of(tensor))


def _title(number: int, layer: LayerSpec) -> str:
    return f"{number}.{layer.name or layer.type}"


def _sources(model: ModelSpec) -> list[tuple[int, ...]]:
    """Numbers of the layers that each layer reads; `INPUT` for the model's input."""
    layers = model.layers
    numbers = {MODEL_INPUT: INPUT}
    for number, layer in enumerate(layers):
        if layer.name in numbers:
            raise RecipeError(
                f"Layer {_title(number, layer)!r}: the name {layer.name!r} is taken"
                + (" by the model's input." if layer.name == MODEL_INPUT else " by another layer.")
                + " Choose another."
            )
        if layer.name is not None:
            if layer.name != file_name(layer.name):
                raise RecipeError(
                    f"Layer {number}: the name {shown(layer.name)} must be of letters, digits, '.', '_' and '-', the "
                    f"first and the last a letter or a digit; it stands in files. Call it {file_name(layer.name)!r}."
                )
            numbers[layer.name] = number
    found = []
    for number, layer in enumerate(layers):
        names = layer.sources
        for name in names:
            if name not in numbers:
                raise RecipeError(
                    f"Layer {_title(number, layer)!r} reads {name!r}, which is no layer's name"
                    + suggestion(name, numbers)
                )
        sources = tuple(numbers[name] for name in names) or (number - 1,)
        if layer.input is not None and layer.inputs is not None:
            raise RecipeError(f"Layer {_title(number, layer)!r} has both `input` and `inputs`. Leave one out.")
        if layer.inputs == ():
            raise RecipeError(
                f"Layer {_title(number, layer)!r}: `inputs` names none. Leave it out for the layer before."
            )
        if not layer.least_inputs <= len(sources) <= layer.most_inputs:
            wanted = f"{layer.least_inputs}" + (
                f" to {layer.most_inputs}" if layer.most_inputs > layer.least_inputs else ""
            )
            raise RecipeError(
                f"Layer {_title(number, layer)!r} reads {len(sources)} tensors; {layer.type!r} takes {wanted}. "
                "Name them in `inputs`."
            )
        found.append(sources)
    return found


def _order(model: ModelSpec, sources: Sequence[tuple[int, ...]]) -> list[int]:
    """Layers in running order: of those whose sources are there, the one written first."""
    order: list[int] = []
    waiting = list(range(len(sources)))
    while waiting:
        ready = next((n for n in waiting if all(s == INPUT or s in order for s in sources[n])), None)
        if ready is None:
            names = ", ".join(repr(_title(n, model.layers[n])) for n in waiting[:4])
            raise RecipeError(f"Layers {names} wait for each other in a circle. Let one of them read an earlier layer.")
        order.append(ready)
        waiting.remove(ready)
    return order


def _trained(number: int, layer: LayerSpec, stage: Stage) -> tuple[str, ...]:
    """Names of the parameters of a stage that its layer lets training change."""
    if layer.trained == "bias" and "bias" not in stage.parameter_shapes:
        raise RecipeError(
            f"Layer {_title(number, layer)!r}: `trainable` (='bias') needs a bias, and the layer has none. Use true or "
            "false."
        )
    some = share_of(layer.trained)
    if some is None and layer.trained not in (True, False, "bias"):
        raise RecipeError(
            f"Layer {_title(number, layer)!r}: `trainable` (={shown(layer.trained)}) must be true, false, 'bias' or a "
            "share of its channels above 0 and below 1, as '1/4'."
        )
    if some is not None and not stage.trains_some:
        raise RecipeError(
            f"Layer {_title(number, layer)!r}: `trainable` (={layer.trained!r}) is a share of the channels, which it "
            "can only train together. Use true, false or, where it has one, 'bias'."
        )
    learned = (name for name in stage.parameter_shapes if name in LEARNED)
    return tuple(name for name in learned if some is not None or layer.trained in (True, name))


def _some(layer: LayerSpec, stage: Stage) -> int | None:
    """How many output channels of a stage are trained, if not all."""
    share, channels = share_of(layer.trained), stage.out_shape[2]
    found = channels if share is None else number_of(share, channels)
    return None if found == channels else found


def _coarser_bias(layer: LayerSpec, stage: Stage) -> int:
    """By how many bits a stage's bias has a coarser grid; raises `ShapeError` where that cannot be."""
    shift = layer.coarser_bias
    if not 0 <= shift <= MAX_COARSER_BIAS or (shift and "bias" not in stage.parameter_shapes):
        raise ShapeError(
            f"Layer {stage.name!r}: `bias_shift` (={shift}) must be 0 to {MAX_COARSER_BIAS}, and 0 without a bias."
        )
    return shift


def in_running_order(model: ModelSpec) -> list[tuple[int, tuple[int, ...]]]:
    """Numbers of the layers in the order in which they run, and of those that each reads, or `INPUT`."""
    sources = _sources(model)
    return [(number, sources[number]) for number in _order(model, sources)]


class _Builder:
    """Stages as they come to be."""

    def __init__(self, model: ModelSpec) -> None:
        self.model, self.sources = model, _sources(model)
        self.uses = [0] * len(model.layers)  # how often each layer is read
        for source in (s for sources in self.sources for s in sources if s != INPUT):
            self.uses[source] += 1
        self.stages: list[Stage] = []
        self.readings: dict[int, Reading] = {INPUT: Reading(INPUT, model.input_shape)}
        self.tensor_uses: dict[int, int] = {}  # of a tensor, by the layer that hands it on last

    def build(self) -> list[Stage]:
        """All layers' stages, the output's last."""
        ends = [n for n, uses in enumerate(self.uses) if uses == 0]
        if len(ends) > 1:
            names = ", ".join(repr(_title(n, self.model.layers[n])) for n in ends)
            raise RecipeError(f"Nobody reads layers {names}; a model has one output. Join them, or leave some out.")
        order = _order(self.model, self.sources)
        for number in order:
            self._add(number, self.model.layers[number])
        return self.stages

    def _add(self, number: int, layer: LayerSpec) -> None:
        read = [self.readings[source] for source in self.sources[number]]
        tensor, shape = read[0]
        view = layer.view(shape)
        if view is not None:
            self.readings[number] = Reading(tensor, view)
            if self._sole(tensor):  # else others read the very values, which no layer behind this one may change
                self._hand_on(tensor, number)
            return
        if len(read) == 1 and self._absorb(tensor, layer, shape):
            own = self.stages[tensor].out_shape
            self.readings[number] = Reading(tensor, shape if layer.window is None else own)
            self._hand_on(tensor, number)
            return
        stage = layer.stage(number, _title(number, layer), [reading.shape for reading in read])
        stage.inputs = tuple(reading.tensor for reading in read)
        stage.trains, stage.some = _trained(number, layer, stage), _some(layer, stage)
        stage.coarser_bias = _coarser_bias(layer, stage)
        self.readings[number] = Reading(len(self.stages), stage.out_shape)
        self.tensor_uses[len(self.stages)] = number
        self.stages.append(stage)

    def _hand_on(self, tensor: int, number: int) -> None:
        if tensor != INPUT:
            self.tensor_uses[tensor] = number

    def _sole(self, tensor: int) -> bool:
        """Whether only one layer reads a tensor, as the layer that hands it on last has it."""
        return tensor != INPUT and self.uses[self.tensor_uses[tensor]] == 1

    def _absorb(self, tensor: int, layer: LayerSpec, shape: Shape) -> bool:
        """Let the stage of a tensor, or the one before if that makes no difference, take over a layer behind it."""
        if not self._sole(tensor):
            return False
        stage = self.stages[tensor]
        if stage.absorb(layer, shape):
            return True
        if not (stage.commutes and layer.function is not None):
            return False
        return self._absorb(stage.inputs[0], layer, shape)


def build_graph(model: ModelSpec) -> Graph:
    """Executable stages of a model.

    Parameters
    ----------
    model : ModelSpec
        Layers, in any order that has no circle.

    Returns
    -------
    Graph
        One stage for every layer that computes and that no stage before it has absorbed.

    Raises
    ------
    ShapeError, RecipeError
        Where the layers do not fit together.
    """
    stages = _Builder(model).build()
    if not any(stage.parameter_shapes for stage in stages):
        raise RecipeError(f"Model {model.name!r} has no layer with parameters. Add a linear or convolution layer.")
    if not any(stage.trains for stage in stages):
        raise RecipeError(
            f"Model {model.name!r} has no layer that is trained: `trainable` is false in all. Let one of them learn."
        )
    if stages[-1].function != IDENTITY:
        number = max(i for i, layer in enumerate(model.layers) if layer.function is not None)
        raise RecipeError(
            f"Layer {_title(number, model.layers[number])!r} is the activation of the outputs of model {model.name!r}; "
            "the loss takes them as they are, and its error would pass where the activation is closed. Remove it, or "
            "put a linear layer behind it."
        )
    readers: list[list[Reader]] = [[] for _ in stages]
    for i, stage in enumerate(stages):
        for slot, tensor in enumerate(stage.inputs):
            if tensor != INPUT:
                readers[tensor].append(Reader(i, slot))
    return Graph(stages, [tuple(found) for found in readers])
