"""Searching for the training setting that fits into given bytes, and saying what was given up for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from fxptrain.errors import FxptrainError
from fxptrain.memory.plan import MemoryPlan, Setting, plan
from fxptrain.nn.engine.curve import curve
from fxptrain.nn.graph import build_graph
from fxptrain.nn.spec import ModelSpec
from fxptrain.nn.tuning import depth, learning

WIDTHS = (16, 12, 8, 6, 4)
LARGEST_BATCH = 1 << 16


@dataclass(frozen=True)
class Fitted:
    """A setting that fits: its plan, and a line for everything it gave up."""

    setting: Setting
    plan: MemoryPlan
    given_up: tuple[str, ...]
    largest_batch: int  # of the same setting otherwise, processed in one piece or in the same micro-batches


def fit(asked: Setting, limit: int, models: Sequence[ModelSpec] = ()) -> Fitted:
    """The setting nearest to `asked` whose plan is at most `limit` bytes.

    Given up in this order: speed (as little as needed, `nn.engine.curve`), processing the batch in one piece, layers
    that are trained (where `models` has several ways, the best one first), the batch size (by halves), the widths. So
    no accuracy is given up where time suffices.

    Raises
    ------
    FxptrainError
        If nothing fits; the message says how many bytes the smallest setting takes.
    """
    smallest, models = None, models or (asked.model,)
    for narrowed in _widths(asked):
        single = replace(narrowed, model=models[-1], batch_size=1, micro_batch=None)
        least = min(plan(replace(single, lean=lean)).total for lean in {True, asked.lean})
        smallest = least if smallest is None else min(smallest, least)
        if least > limit:
            continue
        for candidate in _batches(narrowed, limit, models):
            if plan(candidate).total <= limit:
                chosen = candidate if candidate.lean == asked.lean else _fastest(candidate, limit)
                return Fitted(chosen, plan(chosen), _given_up(asked, chosen), _largest_batch(chosen, limit))
    ways = ["a smaller ring (`--replay`)"] if asked.replay else []
    ways += ["fewer trained layers (`--train-last N`)"] if learning(models[-1])[0] > 1 else []
    raise FxptrainError(
        f"Nothing fits into {limit:,} bytes: {asked.model.name} takes {smallest:,} at batch 1 and the narrowest "
        f"formats. Use {', '.join([*ways, 'a smaller model'])}."
    )


def within(asked: Setting, limit: int, *, either: bool, data: int = 0) -> tuple[Setting, int]:
    """The setting and its planned bytes; with `either`, by the fastest schedule that is within the limit.

    The limit is for the step and for `data`, the bytes of the data set.

    Raises
    ------
    FxptrainError
        If it exceeds the limit; the message says what would fit.
    """
    total = plan(asked).total
    if total + data <= limit:
        return asked, total
    if either:
        least = replace(asked, lean=True)
        total = plan(least).total
        chosen = _fastest(least, limit - data)
        if total + data <= limit or chosen != least:
            return chosen, plan(chosen).total
    try:
        way_out = "Use what fits: " + "; ".join(fit(asked, limit - data).given_up) + "."
    except FxptrainError as error:
        way_out = str(error)
    if data >= limit:
        way_out = "Use fewer samples (--limit N)."
    held = f" and the data {data:,}" if data else ""
    raise FxptrainError(f"Training is planned to take {total:,} bytes{held}, more than {limit:,}. {way_out}")


def _fastest(least: Setting, limit: int) -> Setting:
    """By the fastest schedule that is within the limit, or else as it is."""
    model = least.build()
    for point in curve(model, least.piece, least.threads, pieces=least.summed):
        setting = replace(least, lean=False, schedule=point.schedule)
        if plan(setting, model).total <= limit:
            return setting
    return least


def _widths(asked: Setting) -> Iterator[Setting]:
    yield asked
    widest = max(asked.formats.param_bits, asked.formats.activation_bits)
    for bits in WIDTHS:
        if bits < widest:
            yield asked.with_bits(bits)


def _batches(asked: Setting, limit: int, models: Sequence[ModelSpec]) -> Iterator[Setting]:
    """Batch sizes from the asked one down by halves, of each all models, whole first, then in ever smaller pieces.

    Those that exceed the limit even in the smallest pieces are left out.
    """
    batch = asked.batch_size
    while batch >= 1:
        for model in models:
            setting = replace(asked, model=model, batch_size=batch)
            pieces = (None,) if build_graph(model).gathers else (1, None)
            least = (plan(replace(setting, micro_batch=piece, lean=True)).total for piece in pieces)
            if min(least) <= limit:
                whole = batch < asked.batch_size
                yield from _pieces(replace(setting, micro_batch=None) if whole else setting)
        batch //= 2


def _pieces(asked: Setting) -> Iterator[Setting]:
    """In ever smaller pieces, if no layer needs the whole batch, each as fast as it goes and in least memory."""
    whole = build_graph(asked.model).gathers
    piece = None if whole else asked.micro_batch
    while piece is None or piece >= 1:
        for lean in (False, True):
            if lean or not asked.lean:
                yield replace(asked, micro_batch=piece, lean=lean)
        if whole:
            return
        piece = (asked.batch_size if piece is None else piece) // 2


def _given_up(asked: Setting, found: Setting) -> tuple[str, ...]:
    lines = []
    if (found.lean, found.schedule) != (asked.lean, asked.schedule):
        lines.append(f"speed: {found.mode} (--memory-limit, or the least: --lean)")
    if found.micro_batch is not None and found.micro_batch != asked.micro_batch:
        lines.append(f"one piece: micro-batches of {found.micro_batch}, same bits (--micro-batch {found.micro_batch})")
    if found.model != asked.model:
        trained, layers = learning(found.model)
        lines.append(f"layers: {trained} of {layers} with parameters are trained (--train-last {depth(found.model)})")
    if found.batch_size != asked.batch_size:
        lines.append(f"batch size: {found.batch_size} instead of {asked.batch_size} (--batch-size {found.batch_size})")
    if found.formats != asked.formats:
        widths = f"{asked.formats.param_bits} (parameters) and {asked.formats.activation_bits} (activations)"
        lines.append(f"widths: {found.formats.param_bits} bits instead of {widths} (--bits {found.formats.param_bits})")
    return tuple(lines)


def _largest_batch(setting: Setting, limit: int) -> int:
    """Largest batch size that fits, by doubling and halving the interval."""
    model = setting.build()

    def fits(batch: int) -> bool:
        try:
            model.check_widths(batch)
        except FxptrainError:
            return False
        return plan(replace(setting, batch_size=batch), model).total <= limit

    low, high = setting.batch_size, setting.batch_size * 2
    while high <= LARGEST_BATCH and fits(high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
