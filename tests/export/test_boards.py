"""Cortex-M and RISC-V under QEMU: the same integers, in the memory of real boards, with instructions counted."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from fxptrain.errors import FxptrainError
from fxptrain.export.boards import BOARDS, COMPILER, EMULATOR, Board
from fxptrain.export.c99 import export_c
from fxptrain.export.source import Options
from fxptrain.export.verify import Request, verify
from fxptrain.nn.layers.activation import ActivationSpec
from fxptrain.nn.layers.registry import layer_kinds
from fxptrain.recipe import load_recipe
from tests.export.onnx.graphs import scramble
from tests.export.recipes import run_of, small_recipe

TOOLS = pytest.mark.skipif(not (shutil.which(COMPILER) and shutil.which(EMULATOR)), reason="no Arm compiler or QEMU")
VECTORS = pytest.mark.skipif(
    not all(map(shutil.which, BOARDS["rv32imacv"].family.programs)), reason="no RISC-V compilers or QEMU"
)

ACTIVATIONS = [name for name, kind in layer_kinds().items() if issubclass(kind, ActivationSpec)]
KERNELS = [
    {"type": "conv2d", "channels": 7, "kernel": [3, 3], "padding": [1, 1]},
    {"type": "relu"},
    {"type": "depthwise-conv2d", "kernel": [3, 3], "padding": [1, 1]},
    {"type": "conv2d", "channels": 9, "kernel": [1, 1]},
    {"type": "relu"},
    {"type": "depthwise-conv2d", "kernel": [3, 3], "padding": [1, 1], "stride": [2, 2]},
    {"type": "relu"},
    {"type": "depthwise-conv2d", "kernel": [2, 3]},
    {"type": "conv2d", "channels": 21, "kernel": [1, 1], "stride": [2, 1], "bias": False},
    {"type": "flatten"},
    {"type": "linear", "features": 3},
]
VECTOR_KERNELS = [  # sums shorter and longer than a part, of one and of several inputs and channels
    {"type": "conv2d", "channels": 7, "kernel": [3, 3], "padding": [1, 1]},
    {"type": "maxpool2d", "size": [2, 2]},
    {"type": "relu"},
    {"type": "conv2d", "channels": 9, "kernel": [3, 3], "padding": [1, 1]},
    {"type": "relu"},
    {"type": "conv2d", "channels": 6, "kernel": [1, 1], "groups": 3},
    {"type": "conv2d-transpose", "channels": 4, "kernel": [2, 2], "stride": [2, 2]},
    {"type": "relu"},
    {"type": "conv2d", "channels": 33, "kernel": [1, 1]},
    {"type": "relu"},
    {"type": "flatten"},
    {"type": "linear", "features": 3},
]

LANES = [  # channels, positions and taps that fill vectors and that leave some over; edges, strides, dilation
    {"type": "conv2d", "channels": 16, "kernel": [4, 3], "padding": [2, 1]},
    {"type": "relu"},
    {"type": "depthwise-conv2d", "kernel": [3, 3], "padding": [1, 1]},
    {"type": "relu"},
    {"type": "conv2d", "channels": 35, "kernel": [1, 1], "stride": [1, 2]},
    {"type": "depthwise-conv2d", "kernel": [4, 5], "padding": [2, 2], "stride": [2, 1]},
    {"type": "relu"},
    {"type": "conv2d", "channels": 24, "kernel": [1, 1], "bias": False},
    {"type": "relu"},
    {"type": "depthwise-conv2d", "kernel": [3, 2], "padding": [2, 3], "dilation": [2, 3], "stride": [1, 2]},
    {"type": "conv2d", "channels": 9, "kernel": [1, 1]},
    {"type": "avgpool2d", "size": [2, 2]},
    {"type": "flatten"},
    {"type": "linear", "features": 5},
]
POOLED_LANES = [
    {"type": "conv2d", "channels": 34, "kernel": [3, 3], "padding": [1, 1], "dilation": [2, 1]},
    {"type": "maxpool2d", "size": [3, 2]},
    {"type": "relu"},
    {"type": "conv2d", "channels": 19, "kernel": [2, 2], "padding": [1, 1]},
    {"type": "maxpool2d", "size": [2, 2]},
    {"type": "relu"},
    {"type": "depthwise-conv2d", "kernel": [2, 2], "padding": [1, 1]},
    {"type": "maxpool2d", "size": [2, 1]},
    {"type": "flatten"},
    {"type": "linear", "features": 37},
    {"type": "relu"},
    {"type": "linear", "features": 3},
]


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export of the glyphs' CNN that trains four samples at a time."""
    folder = tmp_path_factory.mktemp("trainer") / "export"
    export_c(run_of(load_recipe("glyphs").changed({"formats.adapt_every": 2})), folder, Options(training=True, batch=4))
    return folder


@TOOLS
@pytest.mark.slow
@pytest.mark.parametrize("target", ["cortex-m0", "cortex-m3", "cortex-m4", "cortex-m33", "netduino2"])
def test_training_gives_the_same_integers(trainer: Path, target: str) -> None:
    """A CNN on 28 x 28 images trains; on netduino2 within 128 KB of RAM, stack included."""
    found = verify(trainer, Request(target, samples=1, steps=3))
    assert found["differences"] == []
    assert found["ram_bytes"] + found["stack_bytes"] <= BOARDS[target].ram[1]
    limit = 12 if target == "cortex-m0" else 5
    assert 1 < found["instructions_per_mac"] < limit
    assert 1 < found["instructions_per_training_mac"] < limit


@TOOLS
@pytest.mark.parametrize(
    ("target", "options", "limit"),
    [("microbit", (), 12), ("cortex-m4", (), 2.8), ("cortex-m4", ("-DFXP_DSP=0",), 3.6), ("cortex-m55", (), 0.7)],
)
def test_inference_gives_the_same_integers(target: str, options: tuple[str, ...], limit: float, tmp_path: Path) -> None:
    """On the microbit in 16 KB; with DSP instructions, or vectors, the same bits in fewer instructions."""
    export_c(run_of(load_recipe("glyphs")), tmp_path / "export", Options())
    found = verify(tmp_path / "export", Request(target, options=("-O2", *options), samples=2))
    assert found["differences"] == []
    assert found["ram_bytes"] + found["stack_bytes"] <= BOARDS[target].ram[1]
    assert found["instructions_per_mac"] < limit


@TOOLS
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("target", ["cortex-m4", "cortex-m55"])
def test_every_kernel_gives_the_same_integers(target: str, bits: int, activation: str, tmp_path: Path) -> None:
    """Odd numbers of channels and positions, edges, strides: what DSP instructions and lanes leave over."""
    options = {name: values[0] for name, values in layer_kinds()[activation].choices([]).items()}
    layers = [{"type": activation} | options if layer["type"] == "relu" else layer for layer in KERNELS]
    run = run_of(small_recipe(model__layers=layers, model__input_shape=[9, 7, 3], formats__param_bits=bits,
                              formats__activation_bits=bits))  # fmt: skip
    scramble(run.model, bits, spread=2)
    export_c(run, tmp_path / "export", Options())
    assert verify(tmp_path / "export", Request(target, samples=5))["differences"] == []


@VECTORS
@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("length", [128, 512])
def test_vectors_of_any_length(length: int, bits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RISC-V's, in one part and in several, forward and back: the engine's integers, in fewer instructions."""
    board = BOARDS["rv32imacv"]
    emulated = [word.replace("vlen=128", f"vlen={length}") for word in board.family.emulated]
    monkeypatch.setitem(BOARDS, board.name, replace(board, family=replace(board.family, emulated=tuple(emulated))))
    run = run_of(small_recipe(model__layers=VECTOR_KERNELS, model__input_shape=[9, 7, 3], formats__param_bits=bits,
                              formats__activation_bits=bits, formats__adapt_every=2))  # fmt: skip
    scramble(run.model, bits, spread=2)
    export_c(run, tmp_path / "export", Options(training=True, batch=3))
    found, plain = (
        verify(tmp_path / "export", Request(board.name, options=("-O2", *options), samples=3, steps=4))
        for options in ((), ("-DFXP_RVV=0",))
    )
    assert found["differences"] == plain["differences"] == []
    for number in ("instructions_per_mac", "instructions_per_training_mac"):
        assert found[number] < plain[number]


@TOOLS
@pytest.mark.parametrize("layers", [LANES, POOLED_LANES], ids=["depthwise", "pooled"])
@pytest.mark.parametrize(
    ("bits", "errors", "method", "rounding"),
    [
        (8, 8, "sqpu", "stochastic"),
        (8, 16, "hteqpu", "half-even"),
        (6, 8, "sqpu", "half-even"),
        (16, 8, "sqpu", "stochastic"),
    ],
)
def test_arms_vectors(
    layers: list[dict[str, object]], bits: int, errors: int, method: str, rounding: str, tmp_path: Path
) -> None:
    """Forward and back, counted and not, by draws and half to even: the engine's integers, in fewer instructions."""
    run = run_of(small_recipe(model__layers=layers, model__input_shape=[13, 9, 2], formats__param_bits=bits,
                              formats__activation_bits=bits, formats__error_bits=errors, formats__adapt_every=2,
                              optimizer__method=method, optimizer__forward_rounding=rounding,
                              optimizer__error_feedback=bits == 6))  # fmt: skip
    scramble(run.model, bits, spread=2)
    export_c(run, tmp_path / "export", Options(training=True, batch=3))
    found, plain = (
        verify(tmp_path / "export", Request("cortex-m55", options=("-O2", *options), samples=3, steps=4))
        for options in ((), ("-DFXP_MVE=0",))
    )
    assert found["differences"] == plain["differences"] == []
    number = "instructions_per_mac" if bits <= 8 else "instructions_per_training_mac"
    assert found[number] < plain[number]


@pytest.mark.parametrize("target", [pytest.param("cortex-m55", marks=TOOLS), pytest.param("rv32imacv", marks=VECTORS)])
@pytest.mark.parametrize("layers", [LANES, POOLED_LANES], ids=["depthwise", "pooled"])
def test_vectors_where_some_channels_train(layers: list[dict[str, object]], target: str, tmp_path: Path) -> None:
    """The products of trained channels that lie apart from the others: the engine's integers."""
    share = {"conv2d": "1/2", "linear": "1/3"}
    some = [layer | ({"trainable": share[kind]} if (kind := str(layer["type"])) in share else {}) for layer in layers]
    run = run_of(small_recipe(model__layers=some, model__input_shape=[13, 9, 2], formats__adapt_every=2))
    scramble(run.model, 8, spread=2)
    export_c(run, tmp_path / "export", Options(training=True, batch=3))
    assert verify(tmp_path / "export", Request(target, options=("-O2",), samples=3, steps=4))["differences"] == []


@TOOLS
def test_a_program_that_does_not_fit_is_refused(trainer: Path) -> None:
    """The linker's message reaches the user."""
    with pytest.raises(FxptrainError, match="RAM"):
        verify(trainer, Request("microbit", steps=1))


def test_ticks_become_instructions() -> None:
    """At 25 MHz and 64 ns an instruction, 1.6 ticks are one."""
    board: Board = BOARDS["cortex-m4"]
    assert board.instructions(1600) == 1000


def test_unknown_targets_are_explained(tmp_path: Path) -> None:
    """The message lists what there is."""
    export_c(run_of(small_recipe()), tmp_path / "export", Options())
    with pytest.raises(FxptrainError, match="must be one of host, microbit"):
        verify(tmp_path / "export", Request("z80"))
