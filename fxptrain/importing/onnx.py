"""``fxptrain import``: a float ONNX model becomes an integer recipe and a run directory, ready to be trained on.

What does not belong here: how the file is read (`reader`) and how numbers are rounded (`quantization`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from math import prod, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.data.arrays import Data
from fxptrain.errors import DataError, RecipeError
from fxptrain.export.names import identifier
from fxptrain.fixed.format import FxP
from fxptrain.importing.chain import Chain
from fxptrain.importing.equalization import equalize
from fxptrain.importing.observation import FloatModel
from fxptrain.importing.quantization import set_parameters, spread
from fxptrain.importing.reader import load, read
from fxptrain.names import one_line
from fxptrain.nn.engine import inference
from fxptrain.nn.engine.ranks import Ranks
from fxptrain.recipe import Recipe, make_recipe
from fxptrain.run.advice import is_chance
from fxptrain.run.directory import RunDirectory
from fxptrain.run.evaluation import Run, available_threads, evaluate_split, notes_log
from fxptrain.run.inputs import real_inputs
from fxptrain.run.metrics import share
from fxptrain.run.task import Task, prepare
from fxptrain.run.training import Loop

RATE = 0.001
TRAINING = {
    "schedule": {"type": "cosine", "lr": RATE},
    "training": {"epochs": 1},
}  # fine-tuning, unless told otherwise


@dataclass(frozen=True)
class Request:
    """How to import: keys of the recipe to set, samples of the training split to calibrate on, threads.

    Pixels are fed to the float model as ``(pixel / 255 - mean) / std``, real numbers as ``(x - mean) / std``; without
    ``data.mean`` and ``data.std`` among the options they are 0 and 1.
    """

    options: dict[str, Any] = field(default_factory=dict)
    samples: int = 512
    threads: int | None = None


def import_onnx(path: str | Path, data: Data, out: str | Path, request: Request | None = None) -> dict[str, Any]:
    """Make a run of a float ONNX model.

    Parameters
    ----------
    path : path
        Of layers that the engine has; batch normalization is folded, Softmax at the end dropped.
    data : Dataset, name or path, (x, y), or mapping of arrays
        To choose formats with, to judge both models on, and to train on later.
    out : path
        Run directory to make: `fxptrain.load_run` reads it, `fxptrain.train` with `resume` goes on from it.
    request : Request, optional
        Widths and other options.

    Returns
    -------
    dict
        Accuracy of the float model and of the integer model on the test split, and how often their classes agree; of
        vectors the mean squared error of both, and the largest difference of an output; formats, and what the float
        model was fed.

    Raises
    ------
    FxptrainError
        If the file has something that is not supported (the message names the node), or data or options do not fit.
    """
    request, path = request or Request(), Path(path)
    file = load(path)
    chain, task = _prepared(file, path, data, request.options)
    threads = request.threads or available_threads()
    floats = FloatModel(file, chain, threads)
    with RunDirectory(out) as directory:
        loop = Loop(task, directory, threads, None, Ranks(), False)
        chosen = real_inputs(task.recipe, task.train.inputs[: request.samples])
        set_parameters(loop.model, chain, floats.observe(chosen, task.recipe.formats.activation_bits))
        loop.begin(resume=False)
        loop.save()
        for note in [*task.notes, *chain.notes]:
            notes_log.warning(note)
        run = loop.as_run()
        directory.log(f"imported {path}")
    found = judged(run, task, floats, threads)
    if not run.model.loss.of_vectors and is_chance(found["float_accuracy"], np.bincount(task.test.labels).tolist()):
        classes = one_line(", ".join(run.classes[:12]))
        notes_log.warning(
            f"{path}: as floats the model recognizes {found['float_accuracy']:.1%} of {len(run.classes)} classes, "
            f"which is chance. It was fed {found['inputs']}: are --mean and --std (data.mean, data.std) those of its "
            f"training, and the classes in its order ({classes})?"
        )
    return found


def _prepared(file: Any, path: Path, data: Data, options: dict[str, Any]) -> tuple[Chain, Task]:
    """Layers, and the data in their shape, which may tell in which order the file has the axes of its input."""
    chain = _chain(file, options)
    recipe = recipe_of(chain, path, options)
    if recipe.formats.mode != "auto":
        raise RecipeError("`formats.mode` must be 'auto': an imported model has a format for each tensor.")
    try:
        return chain, prepare(recipe, data)
    except DataError:
        if not chain.either:
            raise
        try:
            chain = _chain(file, options, channels_last=True)
            return chain, prepare(recipe_of(chain, path, options), data)
        except DataError:
            pass
        raise


def _chain(file: Any, options: dict[str, Any], *, channels_last: bool = False) -> Chain:
    """Layers, without those at the end that a loss has for itself."""
    chain = read(file, channels_last=channels_last)
    if options.get("model.target") == "labels":
        chain.end_before_sigmoid()
    return chain


def recipe_of(chain: Chain, path: Path, options: dict[str, Any]) -> Recipe:
    """Recipe of the layers, with defaults for fine-tuning and the options set.

    The layers' channels are equalized, and their biases get grids for the width that the recipe has.
    """
    given = next((key for key in ("model.layers", "model.input_shape") if key in options), None)
    if given:
        raise RecipeError(f"`{given}` is what the file says of an imported model: leave it out.")
    name = identifier(path.stem)
    changes = _of_vectors(options, prod(chain.layers[chain.last].shape)) | options

    def made() -> Recipe:
        table = {
            "description": one_line(f"Imported from {path.name}"),
            "data": {"name": name, "mean": 0.0, "std": 1.0},
            "model": asdict(chain.finished(name)),
        }
        return make_recipe(table | TRAINING).changed(changes)

    bits = made().formats.param_bits
    equalize(chain)  # of finite numbers, as `finished` has found
    spread(chain, bits)
    recipe = made()
    if recipe.start is not None:
        raise RecipeError(
            "`start` is for training: an imported model starts from the weights in its file. Leave it out, or train a "
            "recipe of the same layers with `--from`."
        )
    return recipe


def _of_vectors(options: dict[str, Any], outputs: int) -> dict[str, Any]:
    """Defaults where outputs are compared with vectors: a smaller rate for sums of squares, no scale of their own."""
    target = options.get("model.target", "class")
    if target in ("class", "labels"):
        return {}
    scale = {"data.target_mean": [0.0] * outputs, "data.target_std": [1.0] * outputs} if target == "values" else {}
    return {"schedule.lr": RATE / sqrt(outputs)} | scale


def judged(run: Run, task: Task, floats: FloatModel, threads: int) -> dict[str, Any]:
    """Both models on the test split."""
    test = task.test
    reals = real_inputs(run.recipe, test.inputs)
    expected = floats.outputs(reals)
    found = inference.logits(run.model, run.inputs.raw(test.inputs), threads)
    evaluation = evaluate_split(run, test, threads)
    judgement: dict[str, Any]
    if evaluation.regression is not None:
        targets = reals.reshape(len(reals), -1) if run.recipe.model.target == "input" else test.labels
        judgement = {
            "float_mse": float(np.mean((expected - targets) ** 2)),
            "test_mse": evaluation.regression.mse,
            "largest_difference": float(np.abs(run.targets.real(found) - expected).max()),
        }
    else:
        of_floats, of_integers = (
            z > 0 if test.has_values else z.argmax(axis=1)[:, np.newaxis] for z in (expected, found)
        )  # labels, or a class
        judgement = {
            "float_accuracy": share(_alike(of_floats, test.labels.reshape(of_floats.shape)), len(test)),
            "test_accuracy": evaluation.accuracy,
            "same_class": share(_alike(of_floats, of_integers), len(test)),
        }
    layers = []
    for stage in run.model.stages:
        forms = {parameter.name: _pair(parameter.format) for parameter in stage.parameters}
        forms["output"] = _pair(stage.y_form.format)
        layers.append({"layer": stage.name} | {of: forms.get(of) for of in ("weights", "bias", "output")})
    about = {"recipe": run.recipe.name, "run": str(run.directory), "inputs": _fed(run.recipe), "samples": len(test)}
    return about | judgement | {"layers": layers}


def _alike(some: npt.NDArray[Any], others: npt.NDArray[Any]) -> int:
    """How many rows are the same."""
    return int((some == others).all(axis=1).sum())


def _fed(recipe: Recipe) -> str:
    """What the float model reads of the data's numbers."""
    data = recipe.data
    return f"({'pixel / 255' if data.largest is None else 'x'} - {data.mean}) / {data.std}"


def _pair(form: FxP | None) -> list[int] | None:
    return None if form is None else [form.total_bits, form.frac_bits]
