"""``fxptrain verify``: an export compiled, fed with vectors from Python, and compared integer by integer.

What does not belong here: how the comparison is made (`vectors`) and how programs are built (`toolchain`, `boards`).
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fxptrain.data.dataset import Inputs
from fxptrain.errors import FxptrainError
from fxptrain.export.boards import BOARDS, build_image, run_image
from fxptrain.export.c99 import network_of
from fxptrain.export.cmsis_check import MARK
from fxptrain.export.interface import interface_of
from fxptrain.export.layers import Network
from fxptrain.export.names import renamed
from fxptrain.export.onnx.check import check, is_export
from fxptrain.export.source import read_source, unchanged_files
from fxptrain.export.toolchain import build_host, run_host
from fxptrain.export.vectors import Batch, Findings, Vectors, compare, random_vectors, real_vectors, run_engine
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.run.evaluation import samples_to_judge
from fxptrain.run.task import prepare

HOST = "host"
TARGETS = (HOST, *BOARDS)
AFTER = 100  # samples of real data predicted again after training
REALS = 6  # samples of real numbers to quantize


@dataclass(frozen=True)
class Request:
    """What to verify with: target, compiler of a host, its options, how many samples, steps, threads; the seed.

    `edited`: take the files as they are now, instead of refusing those that are not as they were written.
    """

    target: str = HOST
    compiler: str = "gcc"
    options: tuple[str, ...] = ("-O2",)
    samples: int = 16
    steps: int = 10
    seed: int = 1
    threads: int = 1
    edited: bool = False


def verify(directory: str | Path, request: Request | None = None, vectors: Vectors | None = None) -> dict[str, Any]:
    """Compile an export, run it and Python's engine on the same vectors, compare.

    Parameters
    ----------
    directory : path
        Written by ``fxptrain export RUN``, ``--to c`` or ``--to onnx``. What lies there is compiled and run: it must
        come from somebody you trust, as the hashes in it can be written by anybody.
    request : Request, optional
        Target and how much to compare.
    vectors : Vectors, optional
        Instead of random ones.

    Returns
    -------
    dict
        ``equal``, ``differences`` (texts), ``compared`` (integers); on a board also instructions, stack, flash, RAM.

    Raises
    ------
    FxptrainError
        If there is no export, a program is missing, or the export does not compile or fit.
    """
    request, directory = request or Request(), Path(directory).resolve()
    if request.target not in TARGETS:
        raise FxptrainError(f"`target` (={request.target!r}) must be one of {', '.join(TARGETS)}.")
    run, options = read_source(directory)
    if (directory / renamed(MARK, options.prefix)).is_file():
        raise FxptrainError(
            f"The export in {directory} needs CMSIS-NN, which rounds ties differently: `tools/compare_cmsis_nn RUN` "
            "of the source distribution counts what that changes."
        )
    net, graph, interface = network_of(run, options), is_export(directory), interface_of(run, options.prefix)
    if not graph:
        _sources(directory, options.prefix)  # refuses what cannot be run
    if vectors is None:
        rate = Multiplier.from_real(run.recipe.schedule.lr)
        steps = request.steps if net.training else 0
        raw = not interface.pixels
        vectors = random_vectors(net, samples=request.samples, steps=steps, seed=request.seed, rate=rate, raw=raw)
    if graph and request.target != HOST:
        raise FxptrainError(f"`target` (={request.target!r}) must be {HOST}: an ONNX export runs there.")
    with tempfile.TemporaryDirectory(prefix="fxptrain-verify-") as name:
        build = Path(name)
        taken = directory if request.edited else _copied(directory, build / "sources")
        if graph:
            return check(run, taken, vectors, request.threads)
        vectors = replace(vectors, reals=real_vectors(net, interface, REALS, request.seed))
        sources = _sources(taken, options.prefix)
        results, facts = _run(net, sources, build, vectors, request, options.prefix)
    findings = compare(net, vectors, run_engine(net, vectors.through(run.inputs.raw), request.threads), results)
    facts |= _instructions(net, vectors, findings, request.target)
    verdict = {"equal": not findings.differences, "differences": findings.differences, "compared": findings.compared}
    about = {"recipe": run.recipe.name, "target": request.target, "samples": len(vectors.before) + len(vectors.after)}
    return about | {"steps": len(vectors.batches)} | verdict | facts


def _copied(directory: Path, sources: Path) -> Path:
    """The files of an export, unchanged and no others, in a directory of their own."""
    for name, content in unchanged_files(directory).items():
        (sources / name).parent.mkdir(parents=True, exist_ok=True)
        (sources / name).write_bytes(content)
    return sources


def _sources(directory: Path, prefix: str) -> Path:
    """Where the export's C is: in its folder, or in that of an Arduino library."""
    for folder in (directory, directory / "src"):
        if (folder / f"{prefix}_config.h").is_file():
            return folder
    raise FxptrainError(
        f"The export in {directory} holds integers only, as `--to header` and `--to npz` write them: there is nothing "
        "to run and to compare. Export it with `--to c`, `arduino` or `onnx` to verify its results."
    )


def _run(
    net: Network, directory: Path, build: Path, vectors: Vectors, request: Request, prefix: str
) -> tuple[bytes, dict[str, Any]]:
    """Results of the export, and what was measured on the way."""
    encoded = vectors.encode(power_cycle=len(vectors.batches) // 2)
    if request.target == HOST:
        program = build_host(directory, build, request.compiler, request.options, prefix)
        return run_host(program, encoded, build), {"compiler": request.compiler}
    board = BOARDS[request.target]
    image = build_image(board, directory, build, request.options, prefix)
    results, stack = run_image(board, image, encoded, build)
    return results, {"flash_bytes": image.flash, "ram_bytes": image.ram, "stack_bytes": stack}


def _instructions(net: Network, vectors: Vectors, findings: Findings, target: str) -> dict[str, Any]:
    """Instructions of the longest call, absolute and by multiply-accumulate of the forward pass."""
    if target == HOST:
        return {}
    board = BOARDS[target]
    macs = sum(layer.stage.macs for layer in net.layers)
    predict = board.instructions(max(findings.predict_ticks, default=0))
    facts: dict[str, Any] = {
        "instructions_per_inference": predict,
        "macs": macs,
        "instructions_per_mac": predict / max(macs, 1),
    }
    if findings.step_ticks:
        whole = [
            ticks
            for ticks, batch in zip(findings.step_ticks, vectors.batches, strict=True)
            if len(batch.labels) == net.batch
        ]
        step = board.instructions(max(whole[1:], default=max(findings.step_ticks)))
        facts |= {"instructions_per_step": step, "batch": net.batch}
        facts["instructions_per_training_mac"] = step / max(training_macs(net) * net.batch, 1)
    return facts


def training_macs(net: Network) -> int:
    """Multiply-accumulates of one sample of a training step: forward, input errors, weight gradients, as if dense."""
    return sum(map(net.graph.training_macs, range(len(net.layers))))


def data_vectors(directory: str | Path, data: str, request: Request) -> Vectors:
    """Vectors from real data, as the run knows them: the first test samples, batches of the first training samples."""
    run, options = read_source(Path(directory))
    net, pixels = network_of(run, options), interface_of(run).pixels

    def given(inputs: Inputs) -> Inputs:
        return inputs if pixels and inputs.dtype == np.uint8 else run.inputs.raw(inputs)

    samples = given(samples_to_judge(run, data).inputs[: request.samples])
    batches = []
    if net.training:
        rate, train = Multiplier.from_real(run.recipe.schedule.lr), prepare(run.recipe, data, run.signature).train
        for first in range(0, request.steps * net.batch, net.batch):
            part = slice(first, first + net.batch)
            inputs = given(train.inputs[part])
            batches.append(Batch(inputs, run.targets.raw(inputs, train.labels[part]), rate))
    return Vectors(samples, tuple(batches), samples[: min(len(samples), AFTER)])
