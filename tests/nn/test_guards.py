"""No step writes outside the views that were planned for it: every view lies between guard bytes here.

In an arena, views share bytes and lie side by side, so a write beyond the end of one may go unnoticed. Every index of
the plain loops, read or written, is checked by the same tests with ``NUMBA_BOUNDSCHECK=1 XDG_CACHE_HOME=DIR`` (kernels
compiled so need a cache of their own, and two minutes to compile; too long for every run).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fxptrain.fixed.multiplier import Multiplier
from fxptrain.nn import spec as s
from fxptrain.nn.engine.inference import Inference
from fxptrain.nn.engine.schedule import FAST, Schedule
from fxptrain.nn.engine.step import TrainingStep
from fxptrain.nn.model import Model
from fxptrain.nn.state import packed
from fxptrain.nn.state.arena import ALIGNMENT, Plan
from fxptrain.nn.state.packed import PackedParameter
from fxptrain.testing import format_specs, model_specs, optimizer_specs
from tests.nn.engine.test_schedules import APART, ODD, RESIDUAL, WIDE
from tests.nn.engine.test_step import as_it_may_run

GUARD, PATTERN = 2048, 0xA7  # bytes on both sides of a view, and what they hold
Guards = dict[str, np.ndarray]


def guarded(name: str, size: int, guards: Guards) -> np.ndarray:
    """Aligned bytes between guards, all of them poisoned."""
    block = np.full(2 * GUARD + size + ALIGNMENT, PATTERN, np.uint8)
    start = GUARD + (-(block.ctypes.data + GUARD)) % ALIGNMENT
    guards[f"before {name}"], guards[f"after {name}"] = block[:start], block[start + size :]
    return block[start : start + size]


@contextmanager
def guarded_arenas() -> Iterator[Guards]:
    """Arenas made in here have guards around every view, and nothing shares bytes."""
    guards: Guards = {}

    def allocate(plan: Plan) -> dict[str, np.ndarray]:
        return {
            b.name: guarded(f"{len(guards)} {b.name}", b.bytes, guards).view(b.dtype).reshape(b.shape)
            for b in plan.buffers
        }

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Plan, "allocate", allocate)
        yield guards


def guard_parameters(model: Model, guards: Guards) -> None:
    """Move packed parameters and momenta, which no arena holds, between guards too."""
    for stage in model.stages:
        for parameter in stage.parameters:
            if isinstance(parameter, PackedParameter):
                for name in ("packed", "packed_momentum"):
                    old = getattr(parameter, name)
                    new = guarded(f"{stage.name} {name}", old.nbytes, guards).view(old.dtype)
                    new[:] = old
                    setattr(parameter, name, new)


def overrun(guards: Guards) -> list[str]:
    """Names of the guards that were written to."""
    return [name for name, guard in guards.items() if (guard != PATTERN).any()]


def samples(model: Model, size: int, pixels: bool, seed: int) -> tuple[Any, Any]:
    """Random inputs and labels."""
    random, form = np.random.default_rng(seed), model.input_form.format
    low, high, kind = (0, 256, np.uint8) if pixels else (form.min_raw, form.max_raw + 1, form.dtype)
    inputs = random.integers(low, high, (size, *model.spec.input_shape)).astype(kind)
    return inputs, random.integers(0, model.stages[-1].out_elements, size).astype(np.int32)


@given(
    model_specs(max_side=7, max_channels=3),
    format_specs(min_bits=4, max_bits=12),
    optimizer_specs(),
    st.lists(st.integers(1, 9), min_size=2, max_size=2),
    st.booleans(),
    st.sampled_from([1, 500, 1600, 4000]),
    st.sampled_from([{}, {"micro_batch": 2}, {"threads": 2}]),
    st.booleans(),
)
@example(WIDE, s.FormatSpec(param_bits=5, activation_bits=7), s.OptimizerSpec(), [9, 2], True, 1, {}, True)
@example(WIDE, s.FormatSpec(param_bits=12, activation_bits=12), s.OptimizerSpec(), [9, 4], False, 700, {}, True)
@example(WIDE, s.FormatSpec(param_bits=10, activation_bits=6), s.OptimizerSpec(), [3, 9], True, 4000, {}, True)
@example(ODD, s.FormatSpec(param_bits=9, activation_bits=11), s.OptimizerSpec(), [9, 5], True, 1600, {}, True)
@example(RESIDUAL, s.FormatSpec(param_bits=9, activation_bits=11), s.OptimizerSpec(), [9, 5], True, 1600, {}, True)
@example(APART, s.FormatSpec(error_bits=8), s.OptimizerSpec(), [5, 2], True, 1 << 20, {}, True)
@settings(max_examples=16)
def test_steps_stay_within_their_views(
    model_spec, format_spec, optimizer_spec, sizes, pixels, budget, options, layers
) -> None:
    """Training steps by all schedules, at widths that are packed, on odd shapes, in blocks of any size."""
    model = Model.build(model_spec, format_spec, optimizer_spec, seed=3)
    with guarded_arenas() as guards, pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed, "LINE_BYTES", 0)  # pack even where it does not pay
        schedule = Schedule(layers=True, budget=budget, packed=True) if layers else FAST
        step = TrainingStep(model, max(sizes), schedule=schedule, **as_it_may_run(model, options))
        guard_parameters(model, guards)
        for number, size in enumerate(sizes):
            step.run(*samples(model, size, pixels, number), Multiplier.from_real(0.05))
            assert overrun(guards) == []


@given(model_specs(max_side=7, max_channels=3), format_specs(min_bits=4, max_bits=12), st.integers(1, 20))
@settings(max_examples=10)
def test_inference_stays_within_its_views(model_spec, format_spec, size) -> None:
    """Forward passes too."""
    model = Model.build(model_spec, format_spec, s.OptimizerSpec())
    with guarded_arenas() as guards:
        Inference(model, size).logits(samples(model, size, True, 0)[0])
        assert overrun(guards) == []


def test_an_overrun_is_found() -> None:
    """A write one element before or behind a view."""
    for at in (-1, 4):
        guards: Guards = {}
        view = guarded("x", 4, guards)
        start = view.ctypes.data - view.base.ctypes.data
        view.base[start + at] = 1
        assert overrun(guards) == ["before x" if at < 0 else "after x"]
