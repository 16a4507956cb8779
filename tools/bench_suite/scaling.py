"""How the cost of a training step grows with the batch, the width and the depth of a model.

What does not belong here: peers, and the conclusion.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

from tools.bench_suite.cases import Plan
from tools.bench_suite.figures import Times, growth, macs_per_image, significant
from tools.bench_suite.session import Outcome, Say, processes

if TYPE_CHECKING:
    from fxptrain.nn.spec import LayerSpec, ModelSpec

SWEEPS: dict[str, tuple[int, ...]] = {
    "batch": (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
    "width": (8, 16, 32, 64, 128),
    "depth": (1, 2, 4, 8, 16, 32),
}
QUICK_SWEEPS: dict[str, tuple[int, ...]] = {"batch": (1, 16, 256), "width": (8, 32, 64), "depth": (1, 4, 16)}
SIDE, DEPTH_CHANNELS, SWEEP_BATCH = 16, 32, 16
SAMPLES = 2048  # at least, so that none is learned by heart
WARM_UP_RUNS = 2


def sweep_model(sweep: str, size: int) -> tuple[ModelSpec, int]:
    """Model and batch size at one point: ``batch`` of `gupta_cnn`, ``width`` in channels, ``depth`` in convolutions."""
    from fxptrain.nn import spec as s
    from fxptrain.recipe import load_recipe

    if sweep == "batch":
        return load_recipe("gupta_cnn").model, size

    def block(channels: int, pool: bool) -> list[LayerSpec]:
        convolution = s.Conv2d(channels=channels, kernel=(3, 3), padding=(1, 1), bias=False)
        return [convolution, *([s.MaxPool2d(size=(2, 2))] if pool else []), s.ReLU()]

    if sweep == "width":
        layers = [*block(size, False), *block(size, True), *block(2 * size, True), s.Flatten(), s.Linear(features=10)]
        shape = (SIDE, SIDE, size)
    else:
        blocks = [layer for _ in range(size) for layer in block(DEPTH_CHANNELS, False)]
        layers = [*blocks, s.MaxPool2d(size=(4, 4)), s.Flatten(), s.Linear(features=10)]
        shape = (SIDE, SIDE, DEPTH_CHANNELS)
    return s.ModelSpec(name=f"{sweep}_{size}", input_shape=shape, layers=tuple(layers)), SWEEP_BATCH


def measure_point(sweep: str, size: int, formats: str, threads: int, seconds: float, cpu_time: bool) -> dict[str, Any]:
    """One turn of training steps at one point; runs in the engine's process."""
    from fxptrain.fixed.multiplier import Multiplier
    from fxptrain.nn.engine.step import TrainingStep
    from fxptrain.nn.model import Model
    from tools.bench_suite.contract import measure
    from tools.bench_suite.fxptrain_library import recipe_of
    from tools.bench_suite.samples import make_samples, starts

    spec, batch = sweep_model(sweep, size)
    recipe = recipe_of("gupta_cnn", formats)
    model = Model.build(spec, recipe.formats, recipe.optimizer)
    step = TrainingStep(model, batch, threads=threads)
    inputs, labels = make_samples(spec.input_shape, 10, max(2 * batch, SAMPLES))
    parts = cycle([slice(start, start + batch) for start in starts(len(inputs), batch)])
    rate = Multiplier.from_real(recipe.schedule.lr)

    def run() -> None:
        part = next(parts)
        step.run(inputs[part], labels[part], rate)

    for _ in range(WARM_UP_RUNS):
        run()
    macs = [stage.macs for stage in model.stages]
    return {"batch": batch, "macs": macs, "seconds": measure(run, seconds, cpu_time=cpu_time)}


def run_scaling(sweeps: dict[str, tuple[int, ...]], plan: Plan, say: Say) -> tuple[list[dict[str, Any]], Outcome]:
    """Points of all sweeps, in the plan's rounds, with its own formats and threads."""
    times: dict[tuple[str, int, str, int], Times] = {}
    about: dict[tuple[str, int], dict[str, Any]] = {}
    outcome = Outcome()
    formats = [contender.name for contender in plan.contenders if contender.library == "fxptrain"]
    turns = [(sweep, size, name) for sweep, sizes in sweeps.items() for size in sizes for name in formats]
    for threads in plan.threads:
        with processes(("fxptrain",), threads, outcome) as workers:
            for number in range(plan.rounds):
                say(f"scaling, threads {threads}: round {number + 1} of {plan.rounds}")
                for sweep, size, name in turns:
                    found = workers["fxptrain"].ask(
                        "scale", sweep=sweep, size=size, formats=name, seconds=plan.seconds, cpu_time=plan.cpu_time
                    )
                    times.setdefault((sweep, size, name, threads), Times()).turns.append(found["seconds"])
                    about[sweep, size] = found
    return [_point(*key, found, about[key[:2]]) for key, found in times.items()], outcome


def _point(sweep: str, size: int, formats: str, threads: int, found: Times, about: dict[str, Any]) -> dict[str, Any]:
    batch = about["batch"]
    return {
        "sweep": sweep,
        "size": size,
        "formats": formats,
        "threads": threads,
        "batch": batch,
        "macs_per_image": macs_per_image(about["macs"], "training"),
        "microseconds_per_image": significant(1e6 * found.typical / batch),
        "fastest_microseconds_per_image": significant(1e6 * found.fastest / batch),
    }


def growths(points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """How the cost of an image grows: with the batch size (0 or less is good), with the MACs of larger models.

    An exponent of 1 or less against the MACs says that nothing in the step grows faster than they do.
    """
    found = []
    for sweep, formats, threads in dict.fromkeys((p["sweep"], p["formats"], p["threads"]) for p in points):
        here = [p for p in points if (p["sweep"], p["formats"], p["threads"]) == (sweep, formats, threads)]
        axis = "size" if sweep == "batch" else "macs_per_image"
        if len(here) > 1:
            exponent = growth([p[axis] for p in here], [p["fastest_microseconds_per_image"] for p in here])
            entry = {"sweep": sweep, "formats": formats, "threads": threads}
            against = "the batch size" if sweep == "batch" else "its MACs"
            found.append(entry | {"against": against, "exponent": exponent})
    return found
