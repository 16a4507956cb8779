"""A training step in little memory: layer by layer, weights packed block by block, tensors freed after use.

`TrainingStep` runs each sample through the whole model, with every layer's weights packed; here a layer is finished for
the whole batch before the next one begins, so that little besides the saved tensors is alive at once. The bits are the
same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fxptrain.errors import RecipeError
from fxptrain.kernels.call import run_calls
from fxptrain.nn.engine.blocked import NO_ARRAY, BlockedProduct, Tensors
from fxptrain.nn.engine.lean_plan import LeanPlan, plan_lean
from fxptrain.nn.engine.packed import pack_parameters, packs_parameters
from fxptrain.nn.engine.passed import Passed
from fxptrain.nn.engine.ranks import Group
from fxptrain.nn.engine.share import Inputs, Labels, load_call, loss_call
from fxptrain.nn.engine.sinks import Sink
from fxptrain.nn.engine.step import TrainingStep
from fxptrain.nn.engine.threads import shares
from fxptrain.nn.engine.workspace import Workspace
from fxptrain.nn.layers.contract import NO_WINNERS, ErrorCall, ForwardCall, GradientBlock, Moment, Report
from fxptrain.nn.model import Model

Array = npt.NDArray[Any]
NO_REPORT = Report(0, 0, 0)


class LeanStep(TrainingStep):
    """`TrainingStep` in less memory and more time; takes the same arguments."""

    plan: LeanPlan

    def _make_space(self, threads: int, summed: bool) -> Workspace:
        if not self.model.graph.is_chain:
            raise RecipeError(f"Model {self.model.spec.name!r} branches; it trains without `lean` only.")
        if packs_parameters(self.model, threads):
            pack_parameters(self.model)
        self.plan, arena = plan_lean(self.model, self.piece, threads)
        return Workspace.of([arena], self.model, threads)

    def _prepare(self) -> None:
        """Fix this step's formats; what is packed is packed on the way."""
        self._fix_formats()
        for stage, product, views in zip(self.model.stages, self.plan.products, self.space.shared, strict=True):
            if product is None:
                run_calls(stage.prepare(views, True))
            else:
                product.chains.clear()  # the weights have changed

    def _piece(self, inputs: Inputs, labels: Labels, part: slice, sink: Sink | None) -> list[Passed]:
        here, there = np.ascontiguousarray(inputs[part]), labels[part]
        run = _Piece(self, here, part.start)
        for i in range(len(self.model.stages)):
            run.each(lambda worker, i=i: run.forward(i, worker))
        run.each(lambda worker: run.loss(there, worker))
        for i in range(len(self.model.stages) - 1, 0, -1):
            if i == 1 and self.plan.fused:
                run.fused(sink)
            else:
                run.each(lambda worker, i=i: run.input_error(i, worker))
            if sink is not None:
                run.gradients(i, sink)
        if sink is not None and not self.plan.fused:
            run.gradients(0, sink)
        return run.passed


class _Piece:
    """One piece of a batch on its way through the model and back."""

    def __init__(self, step: LeanStep, inputs: Inputs, offset: int) -> None:
        self.step, self.plan, self.space, self.model = step, step.plan, step.space, step.model
        self.formats, self.offset, self.samples = step._formats[0], offset, len(inputs)
        self.parts = shares(len(inputs), step.team.size, 8)
        stages = len(self.model.stages)
        self.passed = [Passed(0, 0, [NO_REPORT] * stages, [NO_REPORT] * stages) for _ in self.parts]
        if self.plan.products[0] is None:
            load_call(self.model, inputs, self.space.input[: len(inputs)]).run()
            inputs = self.space.input
        self.inputs: Array = inputs

    def each(self, task: Any) -> None:
        """Run a task on every thread that has samples."""
        self.step.team.run(task, len(self.parts))

    def moment(self, first: int) -> Moment:
        """Moment of samples from `first` of the piece on."""
        optimizer = self.model.optimizer
        return Moment(
            self.model.seed, self.offset + first,
            optimizer.forward_rounding == "stochastic", optimizer.error_rounding == "stochastic",
        )  # fmt: skip

    def tensors(self, i: int, part: slice) -> Tensors:
        """A product stage's tensors."""
        plan, space = self.plan, self.space
        x = self.inputs if i == 0 else space.y[i - 1]
        winners = space.winners[i] if self.model.stages[i].pools else NO_ARRAY
        moment = self.moment(part.start)
        return Tensors(x, plan.x[i], space.y[i], plan.y[i], winners, plan.winners[i], part, moment, self.model.step)

    def _plain_x(self, i: int, part: slice) -> Array:
        x = self.inputs if i == 0 else self.space.y[i - 1]
        return x[part].reshape(-1, *self.model.stages[i].in_shape)

    def _error_call(self, i: int, part: slice, out: Array, scratch: Any) -> ErrorCall:
        model, space = self.model, self.space
        x: Array = NO_ARRAY if self.plan.products[i] is not None else self._plain_x(i, part)
        winners = NO_WINNERS if self.plan.products[i] is not None else self._plain_winners(i, part)
        return ErrorCall(
            space.error[i][part], winners, x, out, 0, self.formats[i], self.formats[i - 1], 0, False, model.gate(i - 1),
            model.error_stream(i - 1), self.moment(part.start), space.shared[i], scratch,
        )  # fmt: skip

    def _plain_winners(self, i: int, part: slice) -> Array:
        return self.space.winners[i][part] if self.model.stages[i].pools else NO_WINNERS

    # Moments -----------------------------------------------------------------------------------------------------

    def forward(self, i: int, worker: int) -> None:
        """Output of a stage for one thread's samples."""
        stage, product, part = self.model.stages[i], self.plan.products[i], self.parts[worker]
        scratch = self.space.scratch["forward", worker][i]
        if product is not None:
            report = product.forward(self.tensors(i, part), scratch)
        else:
            call = ForwardCall(
                (self._plain_x(i, part),), self.space.y[i][part], self._plain_winners(i, part), self.moment(part.start),
                self.space.shared[i], scratch,
            )  # fmt: skip
            report = stage.forward(call).run(self.model.step)
        self.passed[worker].outputs[i] = report

    def loss(self, labels: Labels, worker: int) -> None:
        """Loss and its error for one thread's samples."""
        part, passed = self.parts[worker], self.passed[worker]
        labels = np.ascontiguousarray(labels[part], np.int32)
        call = loss_call(self.model, self.space, worker, labels, part, self.step._formats, self.moment(part.start))
        passed.loss_sum, passed.correct, largest, saturated = call.run(self.model.step)
        passed.errors[-1] = Report(saturated, self.space.error[-1][part].size, largest)

    def input_error(self, i: int, worker: int) -> None:
        """Error at the input of stage `i` for one thread's samples."""
        stage, product, part, space = self.model.stages[i], self.plan.products[i], self.parts[worker], self.space
        scratch = space.scratch["error", worker][i]
        if product is not None:
            report = self._product_error(i, product, part, space.error[i - 1][part], scratch)
        else:
            out = space.error[i - 1][part].reshape(-1, *stage.in_shape)
            report = stage.input_error(self._error_call(i, part, out, scratch)).run(self.model.step)
        self.passed[worker].errors[i - 1] = report

    def _product_error(self, i: int, product: BlockedProduct, part: slice, out: Array, scratch: Any) -> Report:
        return product.input_error(self.tensors(i, part), self._error_call(i, part, out, scratch))

    def fused(self, sink: Sink | None) -> None:
        """The first stage's errors and gradient, chunk by chunk: its errors are never held for the whole batch."""
        space, first, second = self.space, self.plan.products[0], self.plan.products[1]
        assert first is not None, "only product stages are fused"
        assert second is not None, "only product stages are fused"
        scratch = space.scratch["gradient", 0][0]
        sums = [(block, first.start(block, scratch)) for block in first.blocks()]
        report = NO_REPORT
        for start in range(0, self.samples, self.plan.fused_chunk):
            part = slice(start, min(start + self.plan.fused_chunk, self.samples))
            error = space.error[0][: part.stop - part.start]
            more = self._product_error(1, second, part, error, space.scratch["error", 0][1])
            report = Report(
                report.saturated + more.saturated, report.total + more.total, max(report.largest, more.largest)
            )
            for block, total in sums if sink is not None else []:
                first.add(block, self.tensors(0, part), error, scratch, total)
        self.passed[0].errors[0] = report
        for block, total in sums if sink is not None else []:
            assert sink is not None, "sums are only handed to a sink"
            sink.take(0, block, total, 0, self.model.step)

    def gradients(self, i: int, sink: Sink) -> None:
        """All gradient blocks of a stage over the whole piece, handed to the sink."""
        stage, product, whole = self.model.stages[i], self.plan.products[i], slice(0, self.samples)
        blocks = stage.blocks(self.step.team.size) if product is None else product.blocks()
        error = self.space.error[i][whole]

        def one(block: GradientBlock, worker: int) -> Array:
            scratch = self.space.scratch["gradient", worker][i]
            if product is None:
                calls, gradient = stage.gradient(
                    block, self._plain_x(i, whole), error, self._plain_winners(i, whole), scratch
                )
                run_calls(calls)
                return gradient
            total = product.start(block, scratch)
            product.add(block, self.tensors(i, whole), error, scratch, total)
            return total

        if blocks:
            step = self.model.step
            self.step.team.each(blocks, lambda block, worker: sink.take(i, block, one(block, worker), worker, step))


def training_step(
    model: Model, batch_size: int, *, micro_batch: int | None = None, threads: int = 1, group: Group | None = None,
    lean: bool = False,
) -> TrainingStep:  # fmt: skip
    """A step of the fast or the lean kind; they give the same bits."""
    kind = LeanStep if lean else TrainingStep
    return kind(model, batch_size, micro_batch=micro_batch, threads=threads, group=group)
