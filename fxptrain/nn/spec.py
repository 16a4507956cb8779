"""What a model, its formats and its optimizer are, as plain values; nothing here computes.

Real numbers (momentum, weight decay) stand here as the user wrote them and become integer multipliers where the
training step is built. Layers are said in `nn.layers`, one file a family; they have their names here, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from fxptrain.errors import RecipeError
from fxptrain.nn.layers import every
from fxptrain.nn.layers.contract import LayerSpec, Shape
from fxptrain.nn.layers.every import *  # noqa: F403  the one list of them
from fxptrain.nn.layers.windows import Padding, Pair
from fxptrain.nn.state.initialization import Init

__all__ = [
    "FormatSpec", "Init", "LayerSpec", "Loss", "ModelSpec", "OptimizerSpec", "Padding", "Pair", "RoundingName", "Shape",
    "Target",
]  # fmt: skip
__all__ += every.__all__

Loss = Literal["cross-entropy", "squared-error", "binary-cross-entropy"]
Target = Literal["class", "labels", "values", "input"]
RoundingName = Literal["stochastic", "half-even"]
LEAST, LARGEST = 2.0**-100, 2.0**16  # of the optimizer's constants: multipliers hold them and their products
LEAST_FEEDBACK: Final = 2.0**-15  # of the momentum, and of what it lacks of 1: a multiplier of 15 bits holds it


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Layers on samples of shape (h, w, c): one after the other, or as a graph by their names (`nn.graph`).

    Parameters
    ----------
    name : str
        Of the model; messages and exports use it.
    input_shape : (h, w, c)
        Shape of a sample.
    layers : tuple of LayerSpec
        In the order in which they are written, which is what their numbers, and so their draws, come from.
    loss : {"cross-entropy", "squared-error", "binary-cross-entropy"}
        What training makes small; the last layer's outputs are one for each class, label or value.
    target : {"class", "labels", "values", "input"}
        What outputs are compared with: the one of the sample's class; of every label whether the sample has it, by the
        binary cross-entropy; a vector of real numbers, brought to the outputs' format; or the raw inputs, in their
        order (an autoencoder). The latter two take the squared error, and in mode ``auto`` the outputs have one format
        from the first step to the last: the finest that holds every target, of inputs the inputs' own.
    class_weights : tuple of float or "balanced", optional
        What loss and errors of a class's samples are multiplied by, or of a label where it is present: 0 to 1024, on a
        grid of 2**-12. A batch is averaged over its samples, not over their weights. ``"balanced"``: by how rare each
        is in the training split (`run.targets.balanced_weights`).
    label_smoothing : float, optional
        Share a, on a grid of 2**-16, that the target of a class loses evenly to all classes, or of a label to both
        answers: ``(1 - a) t + a / classes``. With cross-entropies.
    init : {"uniform", "kaiming", "xavier", "zero", "data"}
        How far the initial weights of layers reach that do not say it themselves (`initialization.bound_of`). With
        ``uniform`` the signal shrinks from layer to layer, so that networks of more than a few hardly train; in small
        ones whose weights have fewer than 8 bits it is the better choice, as its grid is finer. ``data`` looks at the
        first samples of a training (`engine.data_start`) and is for deep networks.

    Examples
    --------
    >>> layers = (Conv2d(channels=4, kernel=(3, 3)), ReLU(), Flatten(), Linear(features=10))
    >>> ModelSpec(name="tiny", input_shape=(8, 8, 1), layers=layers).loss
    'cross-entropy'
    """

    name: str
    input_shape: Shape
    layers: tuple[LayerSpec, ...]
    loss: Loss = "cross-entropy"
    init: Init = "kaiming"
    target: Target = "class"
    class_weights: tuple[float, ...] | Literal["balanced"] | None = None
    label_smoothing: float | None = None


@dataclass(frozen=True, kw_only=True)
class FormatSpec:
    """Widths, and for mode ``fixed`` the binary points, of every kind of tensor.

    Mode ``auto`` gives each tensor its own frac_bits, chosen at the start and adapted every `adapt_every` steps.
    Mode ``fixed`` uses one parameter format and one activation format for all layers. The momentum, being in gradient
    units, has its own format in either.

    Parameters
    ----------
    mode : {"auto", "fixed"}
        See above.
    param_bits : int
        Bits of weights and biases.
    activation_bits : int
        Bits of the input and of every layer's output.
    momentum_bits : int, optional
        Bits of the momentum; left out: `param_bits`.
    error_bits : int
        Bits of the errors going back, 2 to 16; their scales move by a rule of their own (`ErrorScale`).
    saturation : int, optional
        k, 1 to 30: 2**-k of a layer's outputs (in mode ``auto``) and of the errors of a step may saturate, so that few
        large ones do not coarsen the grid of all others; outputs of which 16 times as many saturate in a step get a
        wider format at once. Left out: 2**-12 of outputs, looked at every `adapt_every` steps or where a quarter of
        them saturate in one, and no errors. 10 is a good choice.
    param_frac, activation_frac : int, optional
        frac_bits of all parameters, and of all activations; mode ``fixed`` needs them.
    momentum_frac : int or "param", optional
        frac_bits of the momentum. Left out: chosen from the first batch, and adapted in mode ``auto``. ``"param"``: the
        parameters' own, as in the paper, and moved with theirs.
    adapt_every : int
        Steps between two adaptations in mode ``auto``; outputs of which too many saturate do not wait (`saturation`).
    """

    mode: Literal["auto", "fixed"] = "auto"
    param_bits: int = 8
    activation_bits: int = 8
    momentum_bits: int | None = None
    error_bits: int = 16
    saturation: int | None = None
    param_frac: int | None = None
    activation_frac: int | None = None
    momentum_frac: int | Literal["param"] | None = None
    adapt_every: int = 100

    @property
    def momentum_width(self) -> int:
        """Bits of the momentum, said or left out."""
        return self.momentum_bits or self.param_bits


@dataclass(frozen=True, kw_only=True)
class OptimizerSpec:
    """How gradients become updates, and which roundings training uses.

    Parameters
    ----------
    method : {"sqpu", "hteqpu", "ste"}
        R below is stochastic for ``sqpu``, half to even for ``hteqpu``; ``ste`` keeps 32-bit master copies, rounded
        half to even, from which the working weights are made.
    momentum : float
        mu; it becomes a `Multiplier`.
    momentum_units : {"gradient", "weight"}
        ``gradient``: an update is ``m <- R(mu m + G/B + lambda w)``, ``w <- R(w - gamma m)``. ``weight``: it is
        ``m <- R(mu m + gamma (G/B + lambda w))``, ``w <- w - m``: one rounding where the momentum is on the parameters'
        grid (`FormatSpec.momentum_frac`), which is the paper's count.
    weight_decay : float
        lambda; it becomes a `Multiplier`.
    error_feedback : bool
        Whether the momentum takes back what rounding adds to the weights: ``s = mu m + G/B + lambda w``,
        ``w' <- R(w - gamma s)``, ``m <- R(s + c (w' - (w - gamma s)))`` with ``c = (1 - mu) / (mu gamma)``. What
        rounding takes from a step is made up for in later ones, as a master copy would, without one (Nikdan et al.,
        "ECO", arXiv 2601.22101).
    decay_of : {"weight", "magnitude"}
        ``magnitude`` has ``|w|`` in the place of ``w``, the paper's equation 7 read literally.
    working_rounding : {"stochastic", "half-even"}
        How STE's working weights are rounded from their 32-bit copies after every step; the paper has inference's.
    saturation_mask : bool
        Whether errors stop where the activation saturated.
    forward_rounding, error_rounding : {"stochastic", "half-even"}
        Of outputs and of errors in training; inference always rounds half to even.

    Notes
    -----
    G is the exact gradient, summed over a batch of B samples; gamma is the learning rate of the step.
    """

    method: Literal["sqpu", "hteqpu", "ste"] = "sqpu"
    momentum: float = 0.9
    momentum_units: Literal["gradient", "weight"] = "gradient"
    weight_decay: float = 0.0
    error_feedback: bool = False
    decay_of: Literal["weight", "magnitude"] = "weight"
    saturation_mask: bool = True
    forward_rounding: RoundingName = "stochastic"
    error_rounding: RoundingName = "stochastic"
    working_rounding: RoundingName = "half-even"

    def __post_init__(self) -> None:
        """Check that the constants are what they can be, and that there is a momentum to feed back into.

        Raises
        ------
        RecipeError
            If one is negative, too small for a multiplier, or a momentum that never ends; with feedback, if there is no
            momentum, or it is no place for what a rounding adds.
        """
        for name, value, most in (("momentum", self.momentum, 1.0), ("weight_decay", self.weight_decay, LARGEST)):
            if value != 0 and not LEAST <= value < most:
                raise RecipeError(f"`optimizer.{name}` (={value!r}) must be 0, or 2**-100 to less than {most:g}")
        wrong = {
            "momentum": not LEAST_FEEDBACK <= self.momentum <= 1 - LEAST_FEEDBACK,
            "momentum_units": self.momentum_units == "weight",
            "method": self.method == "ste",
        }
        found = next((name for name, is_wrong in wrong.items() if is_wrong), None)
        if self.error_feedback and found:
            raise RecipeError(
                "`optimizer.error_feedback` needs a momentum of 2**-15 to 1 - 2**-15 in units of the gradient, and the "
                f"method 'sqpu' or 'hteqpu'; `optimizer.{found}` is {getattr(self, found)!r}. Change it, or leave "
                "`error_feedback` out"
            )
