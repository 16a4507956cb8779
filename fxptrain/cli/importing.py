"""The commands `fxptrain import` and `fxptrain fold`.

Part of the command line (`cli` registers it), so it parses and prints; nothing else belongs here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from fxptrain.cli.options import (
    best_option,
    json_option,
    reading_options,
    recipe_options,
    threads_option,
    training_options,
)

Numbers = float | list[float] | None


def numbers(context: click.Context, option: click.Parameter, text: str | None) -> Numbers:
    """One number, or some with commas between them."""
    if text is None:
        return None
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"{text!r} is no number, nor several with commas between them.") from None
    return found[0] if len(found) == 1 else found


@click.command("import", short_help="A float ONNX model as a run: evaluate, fine-tune, export it.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", required=True, metavar="DATA", help="To choose formats, to compare, to train on later.")
@reading_options
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Run directory to make.")
@click.option(
    "--mean",
    callback=numbers,
    metavar="X",
    help="Pixels enter the float model as (pixel / 255 - mean) / std; 0 by default. One a channel: 0.485,0.456,0.406.",
)
@click.option("--std", callback=numbers, metavar="X", help="1 by default; one a channel: 0.229,0.224,0.225.")
@click.option("--samples", type=click.IntRange(1), default=512, show_default=True, help="To choose formats with.")
@click.option("--method", help="Of training it further: sqpu, hteqpu or ste.")
@click.option("--bits", type=int, metavar="T", help="Bits of weights, activations, momentum (8).")
@click.option("--error-bits", type=int, metavar="T", help="Bits of the errors going back (16).")
@click.option("--batch-size", type=int, metavar="N")
@click.option("--lr", type=float, metavar="X", help="Learning rate of training further (0.001, falling).")
@click.option("--epochs", type=int, metavar="N", help="Epochs of training further (1).")
@training_options
@threads_option
@json_option
def import_model(
    model: Path, out: Path, mean: Numbers, std: Numbers, samples: int, threads: int | None, as_json: bool,
    **given: Any,
) -> None:  # fmt: skip
    """Make a run of the float model in MODEL, an ONNX file, with integer weights (extra `onnx`).

    A graph of Conv (plain, depthwise, in groups), Gemm or MatMul, BatchNormalization, Relu, pools, Flatten; a scale at
    the beginning is folded in, Softmax at the end dropped. Evaluate or export the run as any other; train it further
    with `fxptrain train --resume --out DIR`. An autoencoder: --set model.target=input --set model.loss=squared-error.
    """
    from fxptrain.importing.onnx import Request, import_onnx

    options = recipe_options(given)
    if mean is not None or std is not None:
        options |= {"data.mean": 0.0 if mean is None else mean, "data.std": 1.0 if std is None else std}
    made = import_onnx(model, given["data"], out, Request(options, samples, threads))
    click.echo(json.dumps(made) if as_json else _text(made))


def _text(made: dict[str, Any]) -> str:
    lines = [f"{made['recipe']} in {made['run']}, fed {made['inputs']}"]
    if "test_mse" in made:
        lines.append(
            f"mean squared error {made['test_mse']:.6g}, as floats {made['float_mse']:.6g}; outputs differ by at most "
            f"{made['largest_difference']:.3g}, {made['samples']:,} samples"
        )
    else:
        lines.append(
            f"test accuracy {made['test_accuracy']:.2%}, as floats {made['float_accuracy']:.2%}; the same class for "
            f"{made['same_class']:.2%} of {made['samples']:,} samples"
        )
    for row in made["layers"]:
        forms = [f"{of} {_form(row[of])}" for of in ("weights", "bias", "output") if row[of]]
        lines.append(f"{row['layer']}: {', '.join(forms)}")
    lines.append(f"Train it further with: fxptrain train --resume --out {made['run']}")
    return "\n".join(lines)


def _form(pair: list[int]) -> str:
    return f"FxP({pair[0]}, {pair[1]})"


@click.command(short_help="A run without batch normalization, for exports and boards.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Run directory to make.")
@click.option("--data", metavar="DATA", help="To judge both on; by default what RUN was trained on.")
@best_option
@threads_option
@json_option
def fold(run: Path, out: Path, data: str | None, best: bool, threads: int | None, as_json: bool) -> None:
    """Make a run of RUN whose batch normalization is folded into the weights, by its running values.

    Weights are rounded anew, so outputs differ a little: the test accuracy of both is told. Export the result, or train
    it on with `fxptrain train --from DIR`.
    """
    from fxptrain.importing import folding
    from fxptrain.run import evaluation

    before = evaluation.load_run(run, best=best)
    split = evaluation.samples_to_judge(before, data)
    after = folding.fold(before, out)
    if before.ring is not None:
        evaluation.notes_log.warning("the ring of the run is left out: fill one with `fxptrain adapt DIR --replay N`.")
    count = threads or evaluation.available_threads()
    accuracies = [evaluation.evaluate_split(one, split, count).accuracy for one in (before, after)]
    facts = {"recipe": after.recipe.name, "run": str(after.directory), "samples": len(split)}
    facts |= {"accuracy_before": accuracies[0], "accuracy_after": accuracies[1]}
    text = (
        f"{facts['recipe']} in {facts['run']}\n"
        f"accuracy {accuracies[0]:.2%} before, {accuracies[1]:.2%} after, of {len(split):,} samples"
    )
    click.echo(json.dumps(facts) if as_json else text)
