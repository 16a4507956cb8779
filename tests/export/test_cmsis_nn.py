"""Exports for CMSIS-NN: layouts, multipliers and calls, compiled with a model of its kernels."""

import re
from fractions import Fraction
from math import floor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxptrain.errors import FxptrainError
from fxptrain.export.cmsis_check import compare, logits_of
from fxptrain.export.cmsis_files import export_cmsis_nn
from fxptrain.export.cmsis_nn import NARROW, WIDE, calls_of, scale_of
from fxptrain.export.layers import Network
from fxptrain.export.source import Options
from fxptrain.export.targets import export_run
from fxptrain.export.toolchain import SANITIZERS
from fxptrain.export.vectors import random_vectors
from fxptrain.export.verify import verify
from fxptrain.fixed.multiplier import Multiplier
from fxptrain.nn.model import Model
from tests.export.compiled import COMPILERS
from tests.export.recipes import run_of, small_recipe

COMPILED = pytest.mark.skipif(not COMPILERS, reason="no C compiler")
EVERY_LAYER = [
    {"type": "conv2d", "channels": 6, "kernel": [3, 2], "padding": [1, 1], "bias": False},
    {"type": "maxpool2d", "size": [2, 2]},
    {"type": "relu"},
    {"type": "depthwise-conv2d", "kernel": [2, 2], "padding": [1, 1]},
    {"type": "avgpool2d", "size": [2, 3], "stride": [1, 1]},
    {"type": "relu"},
    {"type": "maxpool2d", "size": [2, 1], "stride": [1, 1]},
    {"type": "flatten"},
    {"type": "linear", "features": 5},
    {"type": "relu"},
    {"type": "linear", "features": 3},
]


# By hand and by property: the requantization ---------------------------------------------------------------------


def half_up(value: Fraction) -> int:
    """The nearest integer, of two the larger."""
    return floor(value + Fraction(1, 2))


def half_away(value: Fraction) -> int:
    """The nearest integer, of two the one farther from zero."""
    return half_up(value) if value >= 0 else -half_up(-value)


def requantized(sum_: int, multiplier: int, shift: int, *, single: bool) -> int:
    """CMSIS-NN's `arm_nn_requantize`: one rounding, or half up at bit 31 and then half away from zero."""
    exact = Fraction(sum_ * multiplier) * Fraction(2) ** (shift - 31)
    if single:
        return half_up(exact)
    return half_away(half_up(exact * Fraction(2) ** max(-shift, 0)) * Fraction(2) ** min(shift, 0))


@given(st.integers(-(2**20), 2**20), st.integers(-3, 22), st.booleans())
def test_a_power_of_two_is_rounded_once(sum_: int, drop: int, single: bool) -> None:
    """Half up, with and without single rounding: it differs from half to even in ties alone."""
    scale = scale_of("layer", 1, drop, NARROW, 2**20)
    assert 0 < scale.multiplier < 2**31
    found, exact = requantized(sum_, *scale, single=single), Fraction(sum_) / Fraction(2) ** drop
    assert found == half_up(exact)
    assert found == round(exact) or exact.denominator == 2


def test_the_usual_scale_would_round_twice() -> None:
    """A quarter becomes one with multiplier 2^30 and shift 1 - s, and zero with ours."""
    assert requantized(1, 1 << 30, 1 - 2, single=False) == 1
    assert requantized(1, *scale_of("layer", 1, 2, NARROW, 1), single=False) == 0


@given(st.integers(-(2**40), 2**40), st.integers(1, 2**15 - 1), st.integers(18, 32))
def test_wide_sums_are_rounded_once(sum_: int, mantissa: int, drop: int) -> None:
    """The s16 kernels drop the multiplier's lower half, which is empty."""
    bound = min(abs(sum_), (1 << (29 + drop)) // mantissa)
    sum_ = max(min(sum_, bound), -bound)
    scale = scale_of("layer", mantissa, drop, WIDE, bound)
    assert scale.multiplier % (1 << 16) == 0
    assert requantized(sum_, *scale, single=True) == half_up(Fraction(sum_ * mantissa, 1 << drop))


@pytest.mark.parametrize(("drop", "bound"), [(32, 1), (0, 2**31), (-20, 2**12)])
def test_scales_out_of_range_are_refused(drop: int, bound: int) -> None:
    """More than 31 bits dropped, sums beyond int32, sums that leave it when shifted left."""
    with pytest.raises(FxptrainError, match="CMSIS-NN cannot scale sums"):
        scale_of("layer", 1, drop, NARROW, bound)


# Whole models ----------------------------------------------------------------------------------------------------


def calls(model: Model, x: np.ndarray) -> np.ndarray:
    """Logits of raw inputs (samples, h, w, c) by the calls of a model, in exact arithmetic with halves up."""
    for call in calls_of(Network(model, training=False)):
        x = x.reshape(len(x), *call.input[1:])
        pad = [(0, 0), *((p, p + 8) for p in call.padding), (0, 0)]
        padded = np.pad(x, pad).astype(np.int64)
        out = np.zeros((len(x), *call.output[1:]), np.int64)
        kernel = (1, 1) if call.kind == "LINEAR" else call.filter[1:3]
        for oh, ow in np.ndindex(*out.shape[1:3]):
            h, w = oh * call.stride[0], ow * call.stride[1]
            seen = padded[:, h : h + kernel[0], w : w + kernel[1]]
            if call.kind == "MAXPOOL":
                out[:, oh, ow] = seen.max((1, 2))
                continue
            weights = call.weights.astype(np.int64)
            if call.kind == "DEPTHWISE":
                sums = (seen * weights.reshape(*kernel, -1)).sum((1, 2))
            else:
                sums = seen.reshape(len(x), -1) @ weights.reshape(out.shape[3], -1).T
            sums = sums + (0 if call.bias is None else call.bias)
            exact = [
                Fraction(int(v) * call.scale.multiplier) * Fraction(2) ** (call.scale.shift - 31) for v in sums.flat
            ]
            out[:, oh, ow] = np.array([half_up(value) for value in exact]).reshape(sums.shape)
        x = out.clip(call.low, call.high)
    return x.reshape(len(x), -1)


def raw_inputs(model: Model, samples: int = 12) -> np.ndarray:
    """Raw integers in the input format."""
    rate, net = Multiplier.from_real(0.1), Network(model, training=False)
    return random_vectors(net, samples=samples, steps=0, seed=3, rate=rate, raw=True).before


@COMPILED
@pytest.mark.parametrize("options", [(), ("-DCMSIS_NN_USE_SINGLE_ROUNDING",)])
@pytest.mark.parametrize(("bits", "weights"), [(8, 8), (6, 5), (12, 8), (16, 7)])
def test_the_export_makes_the_calls(bits: int, weights: int, options: tuple[str, ...], tmp_path: Path) -> None:
    """Every layer, s8 and s16: the compiled calls give what the listed calls mean; saturation is the formats'."""
    recipe = small_recipe(model__layers=EVERY_LAYER, formats__param_bits=weights, formats__activation_bits=bits)
    run = run_of(recipe)
    for stage in run.model.stages:
        for parameter in stage.parameters:
            if parameter.is_bias:
                parameter.flat[:] = np.arange(parameter.flat.size) % 5 - 2
    export_cmsis_nn(run, tmp_path / "out", Options())
    inputs = raw_inputs(run.model)
    found = logits_of(tmp_path / "out", inputs, COMPILERS[0], ("-O1", *SANITIZERS, *options))
    assert found.tolist() == calls(run.model, inputs).tolist()


@COMPILED
def test_only_ties_differ_from_the_engine(tmp_path: Path) -> None:
    """Of an untrained model on built-in data some logits differ by ties, and all are near the engine's."""
    from fxptrain.export.targets import load_source

    export_run(load_source("glyphs"), "cmsis-nn", tmp_path / "out", Options())
    found = compare(tmp_path / "out", "glyphs", 200)
    assert found["samples"] == 200
    assert found["at_most"] <= 8
    assert found["classes_differ"] <= 20


def test_the_readme_lists_the_calls(tmp_path: Path) -> None:
    """Kernels, shapes, multipliers; the same run makes the same bytes."""
    for name in ("a", "b"):
        made = export_run(run_of(small_recipe()), "cmsis-nn", tmp_path / name, Options())
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in made["files"])
    text = (tmp_path / "a" / "README.md").read_text()
    assert "| 0.conv2d | `arm_convolve_wrapper_s8` | 6 x 6 x 1 | 4 x 4 x 4 |" in text
    assert "`arm_max_pool_s8`" in text
    assert "`arm_fully_connected_s8`" in text


def test_a_prefix_begins_every_name(tmp_path: Path) -> None:
    """Two models for CMSIS-NN have no file, macro or symbol in common; an older one by another name goes."""
    run = run_of(small_recipe())
    made = export_run(run, "cmsis-nn", tmp_path, Options(prefix="old"))
    made = export_run(run, "cmsis-nn", tmp_path, Options(prefix="wake"))
    code = sorted(name for name in made["files"] if name.endswith((".c", ".h")))
    assert code == ["wake_cmsis.c", "wake_cmsis.h", "wake_cmsis_config.h", "wake_cmsis_data.c"]
    assert sorted(path.name for path in tmp_path.glob("*.[ch]")) == code
    text = "".join((tmp_path / name).read_text() for name in [*code, "README.md"])
    assert "int32_t wake_cmsis_predict(" in text
    assert re.findall(r"(?<![\w.])(?:fxp|FXP)_\w+", text) == []
    with pytest.raises(FxptrainError, match="needs CMSIS-NN"):
        verify(tmp_path)


# Errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"formats__param_bits": 12}, "weights of up to 8 bits and activations of up to 16; this model has 12 and"),
        ({"formats__activation_bits": 20}, "has 8 and 20"),
    ],
)
def test_widths_without_kernels_are_refused(changes: dict[str, int], match: str, tmp_path: Path) -> None:
    """The message names both widths and the way out."""
    with pytest.raises(FxptrainError, match=match):
        export_cmsis_nn(run_of(small_recipe(**changes)), tmp_path / "out", Options())
    assert not (tmp_path / "out").exists()


def test_a_bias_finer_than_its_sums_is_refused(tmp_path: Path) -> None:
    """An input with negative fractional bits."""
    run = run_of(small_recipe())
    form = run.model.stages[1].x_form
    form.format = form.format.with_frac(-1)
    with pytest.raises(FxptrainError, match="has -1 fractional bits, so that its bias"):
        export_cmsis_nn(run, tmp_path / "out", Options())


def test_other_mistakes_are_explained(tmp_path: Path) -> None:
    """No training; a directory without such an export."""
    with pytest.raises(FxptrainError, match="`training` goes with c and arduino"):
        export_run(run_of(small_recipe()), "cmsis-nn", tmp_path / "out", Options(training=True))
    with pytest.raises(FxptrainError, match="no export for CMSIS-NN"):
        compare(tmp_path, "glyphs", 1)
    export_cmsis_nn(run_of(small_recipe()), tmp_path / "out", Options())
    with pytest.raises(FxptrainError, match=r"needs CMSIS-NN.*`tools/compare_cmsis_nn RUN`"):
        verify(tmp_path / "out")
