"""The paper's sentences of sections 4.2, 4.3 and 5 that runs can contradict: `stability` and `lr-scaling`, by batch."""

from __future__ import annotations

from collections.abc import Callable

from fxptrain.experiments.evidence import ENOUGH, NEAR, Evidence, Judged, Spot, untold
from fxptrain.experiments.grid import UNUSED
from fxptrain.experiments.open_questions import CHANCE, CLOSE
from fxptrain.experiments.tables import percent

METHODS = ("ste", "sqpu", "hteqpu")
QPU = ("ste", "sqpu")
STABILITY_SWEEP, SCALED = "stability", "lr-scaling"
FORMATS = {
    32: "32,20,16",
    24: "24,16,12",
    20: "20,12,10",
    16: "16,10,8",
    12: "12,8,6",
    10: "10,6,4",
    8: "8,5,3",
    6: "6,4,2",
}
Judge = Callable[[Evidence], Judged]


def _from(least: int) -> Callable[[str], bool]:
    return lambda column: int(column) >= least


def _under(limit: int) -> Callable[[str], bool]:
    return lambda column: int(column) < limit


def _at(sweep: str, method: str, bits: int, batch: int) -> Spot:
    return Spot(sweep, method, FORMATS[bits], str(batch))


def _figure(sweep: str, method: str, bits: int, batch: int, stated: float, tolerance: float = NEAR) -> Judge:
    return lambda e: e.number(_at(sweep, method, bits, batch), stated, tolerance=tolerance)


# 4.2 -----------------------------------------------------------------------------------------------------------------


def _float_at_4(e: Evidence) -> Judged:
    return e.number(Spot(STABILITY_SWEEP, "float32", UNUSED, "4"), 0.9)


def _float_above_128(e: Evidence) -> Judged:
    return e.every(e.places(STABILITY_SWEEP, "float32", columns=_from(129)), lambda v: v >= 0.915, "lower")


def _float_at_1_and_2(e: Evidence) -> Judged:
    return e.every(e.places(STABILITY_SWEEP, "float32", columns=_under(3)), lambda v: v < CHANCE, "higher")


def _surpasses(e: Evidence) -> Judged:
    pairs = []
    for bits, label in ((24, "24,16"), (16, "16,10"), (12, "12,8"), (8, "8,5")):
        pairs += [(_at(STABILITY_SWEEP, m, bits, 256), Spot("base", m, label, "stochastic")) for m in METHODS]
    return e.compared(pairs, lambda d: d > 0, "not better", share=2 / 3)


def _ste_92(e: Evidence) -> Judged:
    return e.every(e.places(STABILITY_SWEEP, "ste", columns=_from(4)), lambda v: v >= 0.905, "lower")


def _ste_small(e: Evidence) -> Judged:
    return e.every(e.places(STABILITY_SWEEP, "ste", columns=_under(4)), lambda v: v < 0.2, "higher")


def _sqpu_like_ste(e: Evidence) -> Judged:
    places = e.places(STABILITY_SWEEP, "sqpu", bits=lambda b: b >= 16, columns=_from(3))
    return e.against(places, "ste", lambda d: d >= -CLOSE, "below")


def _degrades(e: Evidence) -> Judged:
    found, pairs = [], 0
    for bits in (12, 10, 8, 6):
        line = [(int(p.column), v) for p in e.places(STABILITY_SWEEP, "sqpu", formats=[FORMATS[bits]], columns=_from(4))
                if (v := e.best(p)) is not None]  # fmt: skip
        if len(line) > 1:
            pairs += 1
            small, large = min(line), max(line)
            found.append((bits, small, large))
    if pairs < 2:
        return untold("Too few batch sizes have run.")
    told = ", ".join(f"{b} bits {percent(s[1])}% at {s[0]}, {percent(g[1])}% at {g[0]}" for b, s, g in found)
    return Judged(f"Smallest and largest batch from 4 on: {told}.", all(s[1] < g[1] for _, s, g in found))


def _at_least_91(e: Evidence) -> Judged:
    places = e.places(STABILITY_SWEEP, "sqpu", bits=lambda b: b > 10, columns=_from(3))
    return e.every(places, lambda v: v >= 0.905, "lower")


def _six_bits(e: Evidence) -> Judged:
    places = e.places(STABILITY_SWEEP, "sqpu", formats=[FORMATS[6]], columns=_under(256))
    return e.every(places, lambda v: v < 0.84, "not so")


def _hteqpu_above_16(e: Evidence) -> Judged:
    places = e.places(STABILITY_SWEEP, "hteqpu", bits=lambda b: b > 16, columns=_from(7))
    return e.against_baseline(places, lambda d: d >= -2 * CLOSE, "below")


def _hteqpu_fewer(e: Evidence) -> Judged:
    places = e.places(STABILITY_SWEEP, "hteqpu", bits=lambda b: b <= 12)
    dead = e.never_left_chance(places)
    ran = [p for p in places if e.best(p) is not None]
    if len(ran) < max(ENOUGH * len(places), 1):
        return untold(f"{len(ran)} of {len(places)} places have run.")
    return Judged(f"{len(dead)} of {len(ran)} places of 12 bits and fewer never do better than guessing.", bool(dead))


def _spread(sweep: str) -> Judge:
    def judge(e: Evidence) -> Judged:
        gaps = {
            str(p): b - w
            for p in e.places(sweep, METHODS)
            if (b := e.best(p)) is not None and (w := e.worst(p)) is not None
        }
        if not gaps:
            return untold("One seed.")
        told = ", ".join(f"{name} {100 * gap:.1f}" for name, gap in gaps.items())
        return untold(f"Two seeds at 8 bits only; best less worst, points: {told}.")

    return judge


def _from_90_to_92(e: Evidence) -> Judged:
    best = {s: max((v for p in e.places(s, METHODS) if (v := e.best(p)) is not None), default=None)
            for s in ("base", STABILITY_SWEEP)}  # fmt: skip
    before, after = best["base"], best[STABILITY_SWEEP]
    if before is None or after is None:
        return untold("Not both have run.")
    met = after > before and abs(before - 0.90) <= NEAR and abs(after - 0.92) <= NEAR
    return Judged(f"base {percent(before)}%, stability {percent(after)}%.", met)


def _below_8_or_6(e: Evidence) -> Judged:
    pairs = [
        (p, p._replace(column="64"))
        for p in e.places(STABILITY_SWEEP, METHODS, columns=_under(8))
        if (v := e.best(p._replace(column="64"))) is not None and v > 0.5
    ]
    return e.compared(pairs, lambda d: d < 0, "no lower than at 64")


def _six_best_is_sqpu(e: Evidence) -> Judged:
    found = {
        str(p): v for p in e.places(STABILITY_SWEEP, METHODS, formats=[FORMATS[6]]) if (v := e.best(p)) is not None
    }
    if len(found) < 6:
        return untold(f"{len(found)} places of 6 bits have run.")
    name, value = max(found.items(), key=lambda item: item[1])
    base = e.baseline(STABILITY_SWEEP, "256")
    drop = "" if base is None else f", {100 * (base - value):.1f} points below float32"
    return Judged(f"Best of 6 bits: {name} {percent(value)}%{drop}; the paper: 84 to 87%.",
                  name.startswith("sqpu") and int(name.split(" ")[-1]) > 128)  # fmt: skip


def _below_4_fails(e: Evidence) -> Judged:
    places = e.places(STABILITY_SWEEP, METHODS, columns=_under(4))
    return e.every(places, lambda v: v < 0.8, "trained")


STABILITY: tuple[tuple[str, Judge], ...] = (
    ("The float baseline reaches 90% at a batch size of 4.", _float_at_4),
    ("It reaches 92% at batch sizes above 128.", _float_above_128),
    ("For batch sizes 1 and 2 its maximum is only 10%.", _float_at_1_and_2),
    ("Generally, each new run surpasses the previous results.", _surpasses),
    ("STE has approximately 92% in all formats where the batch size is not below 4.", _ste_92),
    ("Below a batch size of 4 STE approaches 10%.", _ste_small),
    ("SQPU is comparable at higher widths and batch sizes above 2.", _sqpu_like_ste),
    ("Below 16 bits SQPU degrades as batch sizes get smaller.", _degrades),
    ("Above 10 bits and a batch size of 2 it remains at 91% at least.", _at_least_91),
    ("At 10 bits and batch size 4 it drops by 3%, to 89%.", _figure(STABILITY_SWEEP, "sqpu", 10, 4, 0.89)),
    ("At 8 bits and batch size 64 it dips by 4%, to 88%.", _figure(STABILITY_SWEEP, "sqpu", 8, 64, 0.88)),
    ("At 6 bits training deteriorates considerably under a batch size of 256.", _six_bits),
    ("HTEQPU matches the baseline above 16 bits and batch sizes above 6.", _hteqpu_above_16),
    ("Lower widths increase HTEQPU's risk of degradation.", _hteqpu_fewer),
    ("The standard deviation is nearly 0% in most runs, largest at the edge of what trains.", _spread(STABILITY_SWEEP)),
    ("The maximum accuracy rises from 90% in the base experiment to 92%.", _from_90_to_92),
    ("For all methods accuracy decreases when the batch size is below 8.", _below_8_or_6),
    ("At 6 bits the highest accuracy is SQPU's, at batch sizes above 128, 5 to 8% below.", _six_best_is_sqpu),
    ("Below a batch size of 4 training is highly variable or fails entirely.", _below_4_fails),
)  # fmt: skip

# 4.3 -----------------------------------------------------------------------------------------------------------------


def _float_91(e: Evidence) -> Judged:
    return e.every(e.places(SCALED, "float32"), lambda v: v > 0.905, "lower")


def _float_no_further(e: Evidence) -> Judged:
    best = {s: max((v for p in e.places(s, "float32") if (v := e.best(p)) is not None), default=None)
            for s in (STABILITY_SWEEP, SCALED)}  # fmt: skip
    before, after = best[STABILITY_SWEEP], best[SCALED]
    if before is None or after is None:
        return untold("float32 has not run in both.")
    return Judged(f"Without scaling {percent(before)}%, with it {percent(after)}%.", after <= before + CLOSE / 2)


def _ste_strong(e: Evidence) -> Judged:
    return e.every(e.places(SCALED, "ste", bits=lambda b: b > 6), lambda v: v >= 0.9, "lower")


def _ste_78(e: Evidence) -> Judged:
    return e.every(e.places(SCALED, "ste", formats=[FORMATS[6]]), lambda v: abs(v - 0.78) <= 0.04, "elsewhere")


def _sqpu_no_worse(e: Evidence) -> Judged:
    places = e.places(SCALED, "sqpu")
    return e.compared([(p, p._replace(sweep=STABILITY_SWEEP)) for p in places], lambda d: d >= -CLOSE, "worse")


def _six_over_ste(e: Evidence) -> Judged:
    places = e.places(SCALED, "sqpu", formats=[FORMATS[6]], columns=_from(64))
    return e.against(places, "ste", lambda d: d > 0, "not above")


def _six_under_ste(e: Evidence) -> Judged:
    places = e.places(SCALED, "sqpu", formats=[FORMATS[6]], columns=_under(8))
    return e.against(places, "ste", lambda d: d < 0, "not below")


def _hteqpu_32(e: Evidence) -> Judged:
    return e.against(e.places(SCALED, "hteqpu", formats=[FORMATS[32]]), "ste", lambda d: d >= -CLOSE, "below")


def _falls_with_batch(bits: int) -> Judge:
    def judge(e: Evidence) -> Judged:
        line = sorted((int(p.column), v) for p in e.places(SCALED, "hteqpu", formats=[FORMATS[bits]])
                      if (v := e.best(p)) is not None)  # fmt: skip
        if len(line) < 2:
            return untold(f"{len(line)} batch sizes have run.")
        told = ", ".join(f"{batch}: {percent(value)}%" for batch, value in line)
        return Judged(f"By batch size {told}.", line[0][1] < line[-1][1] - CLOSE)

    return judge


def _hteqpu_halts(e: Evidence) -> Judged:
    places = [
        p for p in e.places(SCALED, "hteqpu", bits=lambda b: b < 16) if (p.format, p.column) != (FORMATS[8], "256")
    ]
    return e.every(places, lambda v: v < 0.2, "trained")


def _mostly_90(e: Evidence) -> Judged:
    judged = [e.every(e.places(SCALED, m), lambda v: v >= 0.9) for m in METHODS]
    shares = []
    for method in METHODS:
        values = [v for p in e.places(SCALED, method) if (v := e.best(p)) is not None]
        shares.append(sum(v >= 0.9 for v in values) / len(values) if values else None)
    told = "; ".join(f"{m} {j.measured.split(';')[0].rstrip('.')}" for m, j in zip(METHODS, judged, strict=True))
    if any(share is None for share in shares):
        return untold(told + ".")
    ste, sqpu, hteqpu = (share or 0.0 for share in shares)
    reached = ", ".join(f"{m} {percent(share, 0)}%" for m, share in zip(METHODS, shares, strict=True))
    return Judged(f"{told}. Places at 90% or more: {reached}.", ste >= 0.9 and sqpu > 0.5 and hteqpu > 0)


SCALING: tuple[tuple[str, Judge], ...] = (
    ("The float baseline achieves beyond 91%.", _float_91),
    ("Its maximum accuracy does not improve further.", _float_no_further),
    ("STE is strong in all formats above 6 bits, irrespective of the batch size.", _ste_strong),
    ("At 6 bits STE falls to approximately 78%.", _ste_78),
    ("SQPU has similar or superior accuracies compared to the previous results.", _sqpu_no_worse),
    ("For 6 bits SQPU outperforms STE at larger batch sizes, by up to 9%.", _six_over_ste),
    ("For 6 bits STE outperforms SQPU at batch sizes below 8.", _six_under_ste),
    ("HTEQPU at 32 bits is comparable at all batch sizes.", _hteqpu_32),
    ("At 24 bits smaller batch sizes degrade HTEQPU.", _falls_with_batch(24)),
    ("At 20 bits HTEQPU is acceptable at large batch sizes only.", _falls_with_batch(20)),
    ("Below 16 bits HTEQPU halts entirely, but for one run of 8 bits at 256.", _hteqpu_halts),
    ("One HTEQPU run with 8 bits at a batch size of 256 reaches 87%.", _figure(SCALED, "hteqpu", 8, 256, 0.87)),
    ("At 6 bits the standard deviation is up to 4% for STE and 2 to 19% for SQPU.", _spread(SCALED)),
    ("STE has 90% almost everywhere, most SQPU runs do, and some HTEQPU runs.", _mostly_90),
    ("STE exceeds 91% in its best runs.", lambda e: e.every(e.places(SCALED, "ste", bits=lambda b: b > 6),
                                                            lambda v: v > 0.91, "lower")),
)  # fmt: skip

# 5 -------------------------------------------------------------------------------------------------------------------


def _consistent(e: Evidence) -> Judged:
    places = [p for s in (STABILITY_SWEEP, SCALED) for p in e.places(s, "sqpu")]
    return e.against(places, "hteqpu", lambda d: d >= -CLOSE, "below", share=0.9)


def _overflow(e: Evidence) -> Judged:
    shares: dict[str, list[float]] = {"8,5": [], FORMATS[8]: []}
    for place in (
        *(Spot("base", m, "8,5", "stochastic") for m in QPU),
        *(_at(STABILITY_SWEEP, m, 8, 256) for m in QPU),
    ):
        for row in e.rows(place):
            outputs = [
                t["saturated_share"] for t in (row.result or {}).get("tensors", []) if t["name"].endswith(".output")
            ]
            shares[place.format].append(max(s for s in outputs if s is not None))
    if not all(shares.values()):
        return untold("Not both have run.")
    alike, higher = (sum(v) / len(v) for v in shares.values())
    return Judged(
        f"Largest share of saturated outputs of a layer, 8 bits, batch 256: {percent(alike)}% where both have 5 "
        f"fractional bits, {percent(higher)}% where outputs have 3 (with decay and scheduler, too).", higher < alike,
    )  # fmt: skip


def _scaling_helps(e: Evidence) -> Judged:
    places = e.places(SCALED, QPU, columns=_under(17))
    return e.compared(
        [(p, p._replace(sweep=STABILITY_SWEEP)) for p in places], lambda d: d > 0, "not better", share=0.9
    )


def _scaling_helps_small_formats(e: Evidence) -> Judged:
    gains: dict[bool, list[float]] = {True: [], False: []}
    for p in e.places(SCALED, QPU):
        one, other = e.best(p), e.best(p._replace(sweep=STABILITY_SWEEP))
        if one is not None and other is not None:
            gains[int(p.format.split(",")[0]) <= 10].append(one - other)
    if not all(gains.values()):
        return untold("Too few places have run in both.")
    few, many = (100 * sum(gains[k]) / len(gains[k]) for k in (True, False))
    return Judged(
        f"Mean gain by scaling: {few:+.1f} points at 10 bits or fewer, {many:+.1f} above.", few > max(many, 0)
    )


def _schedule_helps(e: Evidence) -> Judged:
    base = e.collapses(e.places("base", QPU, bits=lambda b: b >= 8))
    later = e.collapses(e.places(STABILITY_SWEEP, QPU, bits=lambda b: b >= 8, columns=lambda c: c == "256"))
    ran = [sum(len(e.rows(p)) for p in places) for places in (
        e.places("base", QPU, bits=lambda b: b >= 8),
        e.places(STABILITY_SWEEP, QPU, bits=lambda b: b >= 8, columns=lambda c: c == "256"))]  # fmt: skip
    if min(ran) < 4:
        return untold("Too few runs.")
    return Judged(f"Collapsed runs at batch 256: {len(base)} of {ran[0]} without decay and scheduler, {len(later)} of "
                  f"{ran[1]} with them.", len(later) / ran[1] < len(base) / ran[0] if base else None)  # fmt: skip


def _as_good_at_57(e: Evidence) -> Judged:
    return e.against([_at(s, "sqpu", 16, 16) for s in (STABILITY_SWEEP, SCALED)], "ste", lambda d: d >= -CLOSE, "below")


CONCLUSION: tuple[tuple[str, Judge], ...] = (
    ("SQPU yields more consistent and improved outcomes (than HTEQPU).", _consistent),
    ("Higher precision for parameters than for layer outputs limits overflow.", _overflow),
    ("Weight decay and the plateau scheduler enhance stability.", _schedule_helps),
    ("A learning rate reduced with the batch size boosts accuracy for smaller batch sizes.", _scaling_helps),
    ("It does so especially for formats with fewer bits.", _scaling_helps_small_formats),
    ("SQPU has accuracy comparable to STE at 57% of the memory (16 bits, batch 16).", _as_good_at_57),
)
