"""The paper's sentences of sections 4.1 and 4.3 on sizes, roundings and memory: counted from model and grids."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from fxptrain.experiments.evidence import Evidence, Judged, Spot, untold
from fxptrain.experiments.grid import FULL, UNUSED, load_grid
from fxptrain.experiments.open_questions import CLOSE
from fxptrain.experiments.tables import percent
from fxptrain.memory.operations import PAPER_MODEL, PAPER_PARAMETER_COUNT, rounding_counts
from fxptrain.memory.plan import paper_bytes
from fxptrain.nn.model import Model
from fxptrain.recipe import load_recipe
from fxptrain.run.evaluation import build_model

Judge = Callable[[Evidence], Judged]
ENGINES = ("integer", "float32")
PIXELS, LOGITS = 784, 10
BATCHES = (1, 16, 256, 1024)


@cache
def _model(bits: int) -> Model:
    recipe = load_recipe(PAPER_MODEL)
    return build_model(recipe.changed({"formats.param_bits": bits, "formats.activation_bits": bits}))


def memory_factor(bits: int, batch: int, method: str = "sqpu") -> float:
    """Bytes by the paper's accounting over those of STE at the same widths.

    Examples
    --------
    >>> round(memory_factor(16, 16), 4), round(memory_factor(12, 16), 4)
    (0.5685, 0.4458)
    """
    return paper_bytes(_model(bits), method, batch) / paper_bytes(_model(bits), "ste", batch)


@cache
def _cells(name: str) -> tuple[int, int]:
    engines = [cell.engine for cell in load_grid(name).cells(FULL, engines=ENGINES)]
    return engines.count("integer"), engines.count("float32")


def _parameters() -> int:
    return sum(p.flat.size for stage in _model(8).stages for p in stage.parameters)


def _runs(name: str, stated: int, *, with_float: bool) -> Judge:
    def judge(_: Evidence) -> Judged:
        integers, floats = _cells(name)
        found = integers + floats if with_float else integers
        return Judged(f"{integers:,} runs of integers and {floats} of float32.", found == stated)

    return judge


def _thirteen(_: Evidence) -> Judged:
    return Judged("Table 2 has 12 columns; the text of figure 4 has FxP(8, 3), which makes 13 and 390 runs.", False)


def _size(_: Evidence) -> Judged:
    return Judged(f"{_parameters():,}.", _parameters() == 184_490)


def _sums(_: Evidence) -> Judged:
    counts = rounding_counts(_model(8), 1)["paper"]
    parametric = [stage for stage in _model(8).stages if stage.parameters]
    pools = sum(stage.macs // (stage.parameters[0].values.size // stage.parameters[0].values.shape[-1])
                for stage in parametric[:2])  # fmt: skip
    inputs = sum(stage.in_elements for stage in parametric) + pools + LOGITS
    return Judged(f"Inputs of layers {inputs:,} (its 18,432 and 4,096 are of the poolings), roundings "
                  f"{counts['inference_per_sample']:,}.",
                  inputs == 29_082 and counts["inference_per_sample"] == 22_666)  # fmt: skip


def _kilobytes(_: Evidence) -> Judged:
    wide, narrow = (_parameters() * bits / 8 / 1000 for bits in (32, 8))
    return Judged(f"{wide:.2f} and {narrow:.2f} kB.", (round(wide, 2), round(narrow, 2)) == (737.96, 184.49))


def _by_batch(_: Evidence) -> Judged:
    told = "; ".join(
        f"{bits} bits: " + ", ".join(f"{memory_factor(bits, batch):.3f} at {batch}" for batch in BATCHES)
        for bits in (32, 24, 16, 12, 8)
    )
    falls = all(memory_factor(bits, 1) < memory_factor(bits, 1024) for bits in (24, 16, 12, 8))
    return Judged(f"Factor to STE by batch size: {told}.", falls)


def _inputs_dominate(_: Evidence) -> Judged:
    shares = {}
    for bits in (16, 8):
        fixed = paper_bytes(_model(bits), "sqpu", 0)
        shares[bits] = 1 - fixed / paper_bytes(_model(bits), "sqpu", 1024)
    told = ", ".join(f"{percent(share)}% at {bits} bits" for bits, share in shares.items())
    return Judged(f"Share of the saved inputs at a batch size of 1024: {told}.", min(shares.values()) > 0.9)


def _table_3(_: Evidence) -> Judged:
    counts = rounding_counts(_model(8), 1024)["paper"]
    outputs, parameters = counts["inference_per_sample"], counts["parameters"]
    told = (
        f"Table 1's network has {outputs:,} roundings in inference and {parameters:,} parameters, "
        f"{outputs + parameters:,} together: the table's sum.",
        f"Its lines are of another network, with {PAPER_PARAMETER_COUNT:,} parameters: 96 biases more, which the "
        "convolutions do not have.",
        f"{outputs + PAPER_PARAMETER_COUNT:,} stands in STE's first line, and the lines of none of its three columns "
        "make the sum below them.",
        "And a line of a sample is added to one of an update: the equal sums are those of a batch of one.",
    )
    return Judged(" ".join(told), False)


def _nine(_: Evidence) -> Judged:
    factor = rounding_counts(_model(8), 1024)["paper"]["ste_over_sqpu"]
    return Judged(f"{factor:.2f}.", round(factor) == 9)


BASE: tuple[tuple[str, Judge], ...] = (
    ("There are 13 fixed-point configurations in Table 2.", _thirteen),
    ("This leads to 390 training runs.", _runs("base", 390, with_float=False)),
    ("The model has 184,490 parameters (Table 1).", _size),
    ("Its layers have 29,082 inputs and 22,666 roundings in all (Table 1).", _sums),
    ("The parameters need 737.96 kB at 32 bits and 184.49 kB at 8.", _kilobytes),
    ("The memory reduction compared to STE depends on the batch size (figure 2).", _by_batch),
    ("At a batch size of 1024 memory is dominated by the inputs kept for the backward pass.", _inputs_dominate),
    ("Table 3: 22,666 roundings in inference, 184,586 of parameters, 207,156 in all.", _table_3),
    ("For a batch size of 1024 STE rounds nine times as often.", _nine),
)


def _drop_at(bits: int, label: str, stated: float, drop: float) -> Judge:
    """Memory as stated, and accuracy within a drop of float32 at batch 16."""

    def judge(e: Evidence) -> Judged:
        factor = memory_factor(bits, 16)
        parts, holds = [f"Memory {factor:.4f}"], [factor <= stated + 0.005]
        for sweep in ("stability", "lr-scaling"):
            found, base = e.best(Spot(sweep, "sqpu", label, "16")), e.baseline(sweep, "16")
            base = e.best(Spot(sweep, "ste", label, "16")) if base is None else base
            if found is not None and base is not None:
                parts.append(f"{sweep} {percent(found)}%, {100 * (found - base):+.1f} points to the baseline")
                holds.append(found >= base - drop)
        if len(parts) == 1:
            return untold(f"Memory {factor:.4f}; the runs have not ended.")
        return Judged("; ".join(parts) + ".", all(holds))

    return judge


def _less_memory(e: Evidence) -> Judged:
    """Whether SQPU is no worse than STE at the least memory: the cheapest place of each that reaches 85%."""
    cheapest = {}
    for method in ("ste", "sqpu"):
        reached = []
        for sweep in ("stability", "lr-scaling"):
            for place in e.places(sweep, method):
                value = e.best(place)
                if value is not None and value >= 0.85 and place.format != UNUSED:
                    bits = int(place.format.split(",")[0])
                    reached.append((paper_bytes(_model(bits), method, int(place.column)), str(place), value))
        if reached:
            cheapest[method] = min(reached)
    if len(cheapest) < 2:
        return untold("Not both methods have run.")
    told = "; ".join(
        f"{m}: {where} {percent(value)}%, {size / 1000:,.0f} kB" for m, (size, where, value) in cheapest.items()
    )
    return Judged(f"The least memory in which 85% is reached, {told}.", cheapest["sqpu"][0] < cheapest["ste"][0])


MEMORY: tuple[tuple[str, Judge], ...] = (
    ("4.2 has 2,750 training runs.", _runs("stability", 2750, with_float=True)),
    ("4.3 has 2,500 experiments.", _runs("lr-scaling", 2500, with_float=True)),
    (
        "SQPU attains near-baseline accuracy at 57% of the memory (16 bits, batch 16).",
        _drop_at(16, "16,10,8", 0.57, CLOSE),
    ),
    ("Memory falls below 50% with a drop of 1.5% (12 bits, batch 16).", _drop_at(12, "12,8,6", 0.5, 0.015)),
    ("Lower memory favours SQPU over STE (figure 11).", _less_memory),
)
