"""The paper's sentences of section 4.1 that runs can contradict: `base`, one batch size, two roundings in inference."""

from __future__ import annotations

from collections.abc import Callable

from fxptrain.experiments.evidence import ENOUGH, Evidence, Judged, Spot, bits_of, untold
from fxptrain.experiments.open_questions import CHANCE, CLOSE
from fxptrain.experiments.tables import percent

Judge = Callable[[Evidence], Judged]
METHODS = ("ste", "sqpu", "hteqpu")
QPU = ("ste", "sqpu")
HTE, SR = "half-even", "stochastic"


def _at(method: str, label: str, rounding: str) -> Spot:
    return Spot("base", method, label, rounding)


def _every(rounding: str) -> Callable[[str], bool]:
    return lambda column: column == rounding


# Half to even in inference (figure 3) --------------------------------------------------------------------------------


def _baseline(e: Evidence) -> Judged:
    found = e.baseline("base", "-")
    if found is None:
        return untold("float32 has not run.")
    worst = e.worst(Spot("base", "float32", "-", "-"))
    if worst is None:
        return untold(f"One seed: {percent(found)}%; a spread needs more.")
    return Judged(f"Worst {percent(worst)}%, best {percent(found)}%.", abs(found - 0.9) < 0.015 and worst < 0.8)


def _wide_like_baseline(e: Evidence) -> Judged:
    places = e.places("base", METHODS, bits=lambda b: b >= 24, columns=_every(HTE))
    return e.against_baseline(places, lambda d: d >= -2 * CLOSE, "further below float32")


def _hteqpu_dead(e: Evidence) -> Judged:
    places = e.places("base", "hteqpu", bits=lambda b: b < 16, columns=_every(HTE))
    return e.every(places, lambda value: value < CHANCE, "better")


def _sqpu_equals_ste(e: Evidence) -> Judged:
    places = e.places("base", "sqpu", columns=_every(HTE))
    return e.against(places, "ste", lambda d: abs(d) <= CLOSE, "not equal")


def _eight_below(e: Evidence) -> Judged:
    places = e.places("base", QPU, bits=lambda b: b == 8, columns=_every(HTE))
    return e.against_baseline(places, lambda d: d < -CLOSE, "as good as float32")


def _twelve_six(e: Evidence) -> Judged:
    return e.against_baseline([_at(m, "12,6", HTE) for m in QPU], lambda d: d >= -CLOSE, "below float32")


def _twelve_eight(e: Evidence) -> Judged:
    return e.every([_at(m, "12,8", HTE) for m in QPU], lambda value: abs(value - 0.65) <= 0.05, "elsewhere")


HALF_EVEN: tuple[tuple[str, Judge], ...] = (
    ("The float baseline has a worst accuracy of 76%, a best of 90% and a standard deviation of 7%.", _baseline),
    ("With 32 and 24 bits all methods are comparable to the baseline.", _wide_like_baseline),
    ("Below 16 bits all runs of HTEQPU are under 12%.", _hteqpu_dead),
    ("SQPU's best accuracy always equals STE's.", _sqpu_equals_ste),
    ("Neither STE nor SQPU matches the baseline at 8 bits.", _eight_below),
    ("At 12 bits with 6 fractional ones the baseline is reached.", _twelve_six),
    ("At 12 bits with 8 fractional ones accuracy falls to 65%.", _twelve_eight),
)

# Stochastic rounding in inference (figure 4) -------------------------------------------------------------------------


def _hteqpu_low(e: Evidence) -> Judged:
    return e.every(e.places("base", "hteqpu", bits=lambda b: b <= 16, columns=_every(SR)), lambda v: v <= 0.18, "above")


def _hteqpu_a_little_better(e: Evidence) -> Judged:
    places = e.places("base", "hteqpu", bits=lambda b: b <= 16, columns=_every(SR))
    return e.compared([(p, p._replace(column=HTE)) for p in places], lambda d: d >= 0, "worse", share=2 / 3)


def _sqpu_from_16(e: Evidence) -> Judged:
    places = e.places("base", "sqpu", bits=lambda b: b >= 16, columns=_every(SR))
    return e.compared([(p, p._replace(column=HTE)) for p in places], lambda d: abs(d) <= CLOSE, "not equal")


def _ste_from_24(e: Evidence) -> Judged:
    places = e.places("base", "ste", bits=lambda b: b >= 24, columns=_every(SR))
    return e.compared([(p, p._replace(column=HTE)) for p in places], lambda d: abs(d) <= CLOSE, "not equal")


def _ste_worst_16(e: Evidence) -> Judged:
    worst = [w for label in ("16,10", "16,8") if (w := e.worst(_at("ste", label, SR))) is not None]
    if not worst:
        return untold("One seed: there is no worst of one.")
    return Judged(f"Worst of the seeds: {percent(min(worst))}%.", abs(min(worst) - 0.76) <= 0.03)


def _sqpu_12_8(e: Evidence) -> Judged:
    return e.number(_at("sqpu", "12,8", SR), 0.81, tolerance=0.03)


def _sqpu_12_8_gain(e: Evidence) -> Judged:
    place = _at("sqpu", "12,8", SR)
    return e.compared([(place, place._replace(column=HTE))], lambda d: 0.04 <= d <= 0.1, "another step")


def _best_of_8(e: Evidence) -> Judged:
    parts, holds = [], []
    for method in QPU:
        found = {label: e.best(_at(method, label, SR)) for label in ("8,5", "8,4", "8,3")}
        known = {label: value for label, value in found.items() if value is not None}
        if len(known) < len(found):
            return untold("Not all three 8-bit formats have run.")
        parts.append(f"{method}: {', '.join(f'{label} {percent(value)}%' for label, value in known.items())}")
        holds.append(max(known, key=lambda label: known[label]) == "8,3")
    return Judged(f"{'; '.join(parts)}; the paper: 74%.", all(holds))


def _sqpu_worst_8_3(e: Evidence) -> Judged:
    worst = e.worst(_at("sqpu", "8,3", SR))
    if worst is None:
        return untold("One seed: there is no worst of one.")
    return Judged(f"Worst of the seeds: {percent(worst)}%.", abs(worst - 0.16) <= 0.05)


def _eight_four(method: str, stated: float) -> Judge:
    return lambda e: e.number(_at(method, "8,4", SR), stated, tolerance=0.05)


def _ste_8_5(e: Evidence) -> Judged:
    place = _at("ste", "8,5", SR)
    return e.compared([(place, place._replace(column=HTE))], lambda d: d < -CLOSE, "not below")


def _sqpu_8_5(e: Evidence) -> Judged:
    place = _at("sqpu", "8,5", SR)
    return e.compared([(place, place._replace(column=HTE))], lambda d: abs(d) <= 0.03, "not equal")


def _gap(e: Evidence) -> Judged:
    gaps = {
        m: [b - w for p in e.places("base", m, bits=lambda b: b <= 12) if (b := e.best(p)) and (w := e.worst(p))]
        for m in QPU
    }
    if not all(gaps.values()):
        return untold("One seed: best and worst are one.")
    mean = {m: sum(values) / len(values) for m, values in gaps.items()}
    return Judged(f"Best less worst: ste {percent(mean['ste'])}, sqpu {percent(mean['sqpu'])} points.",
                  mean["sqpu"] > mean["ste"])  # fmt: skip


STOCHASTIC: tuple[tuple[str, Judge], ...] = (
    ("With SR in inference HTEQPU never exceeds 18% at 16 bits or fewer.", _hteqpu_low),
    (
        "HTEQPU at 16 bits or fewer is slightly better with SR in inference than with half to even.",
        _hteqpu_a_little_better,
    ),
    ("From 16 bits on SQPU is almost equal under both roundings.", _sqpu_from_16),
    ("At 24 and 32 bits STE is the same under both roundings.", _ste_from_24),
    ("STE's worst accuracy drops to 76% at 16 bits.", _ste_worst_16),
    ("At 12 bits with 8 fractional ones SQPU reaches 81%.", _sqpu_12_8),
    ("That is 7% more than with half to even.", _sqpu_12_8_gain),
    ("At 8 bits STE and SQPU are best with 3 fractional bits, at 74%.", _best_of_8),
    ("SQPU's worst run there has 16%.", _sqpu_worst_8_3),
    ("With 4 fractional bits SQPU attains 68%.", _eight_four("sqpu", 0.68)),
    ("With 4 fractional bits STE reaches only 21%.", _eight_four("ste", 0.21)),
    ("At 5 fractional bits STE is worse than with half to even in inference.", _ste_8_5),
    ("At 5 fractional bits SQPU stays as good as with half to even.", _sqpu_8_5),
    ("The gap between SQPU's worst and best grows: STE is more stable at lower widths.", _gap),
)

# What section 4.1 concludes ------------------------------------------------------------------------------------------


def _all_match(e: Evidence) -> Judged:
    base = e.baseline("base", "-")
    best = {
        m: max((v, str(p)) for p in e.places("base", m) if (v := e.best(p)) is not None)
        for m in METHODS
        if any(e.best(p) is not None for p in e.places("base", m))
    }
    if base is None or len(best) < len(METHODS):
        return untold("float32 or a method has not run.")
    told = ", ".join(f"{where} {percent(value)}%" for value, where in best.values())
    return Judged(
        f"float32 {percent(base)}%; the best of each: {told}.", all(v >= base - CLOSE for v, _ in best.values())
    )


def _sqpu_over_hteqpu(e: Evidence) -> Judged:
    return e.against(e.places("base", "sqpu"), "hteqpu", lambda d: d >= -CLOSE, "below", share=2 / 3)


def _sometimes(e: Evidence) -> Judged:
    places = e.places("base", "sqpu", bits=lambda b: b <= 12)
    found = {str(p): a - b for p in places if (a := e.best(p)) and (b := e.best(p._replace(method="ste")))}
    if len(found) < max(ENOUGH * len(places), 1):
        return untold(f"{len(found)} of {len(places)} places have run.")
    above = [name for name, d in found.items() if d > CLOSE]
    below = [name for name, d in found.items() if d < -CLOSE]
    return Judged(f"Above STE: {', '.join(above) or 'nowhere'}; below: {', '.join(below) or 'nowhere'}; "
                  f"{len(found) - len(above) - len(below)} alike.", bool(above) and bool(below))  # fmt: skip


def _sr_better(e: Evidence) -> Judged:
    places = e.places("base", QPU, bits=lambda b: b <= 12, columns=_every(SR))
    return e.compared([(p, p._replace(column=HTE)) for p in places], lambda d: d >= -CLOSE, "worse", share=2 / 3)


def _careful(e: Evidence) -> Judged:
    spans = []
    for bits in (16, 12, 8):
        places = [place for place in e.places("base", "sqpu") if bits_of(place.format) == bits]
        values = [best for place in places if (best := e.best(place)) is not None]
        if len(values) > 1:
            spans.append((bits, max(values) - min(values)))
    if len(spans) < 3:
        return untold("Not all widths have run.")
    told = ", ".join(f"{bits} bits {percent(span)}" for bits, span in spans)
    return Judged(
        f"Best less worst format of SQPU, points: {told}.", spans[0][1] < spans[1][1] and spans[0][1] < spans[2][1]
    )


def _unused_range(e: Evidence) -> Judged:
    found: dict[int, list[int]] = {}
    for place in e.places("base", "sqpu"):
        for row in e.rows(place):
            bits = [t["headroom_bits"] for t in (row.result or {}).get("tensors", []) if t["name"].endswith(".weights")]
            found.setdefault(bits_of(place.format), []).extend(b for b in bits if b is not None)
    if not found:
        return untold("SQPU has not run.")
    told = ", ".join(f"{bits} bits: {sum(v) / len(v):.1f}" for bits, v in sorted(found.items()) if v)
    everything = [b for values in found.values() for b in values]
    return Judged(f"Unused bits of the weights' range, mean over layers and formats: {told}.",
                  sum(everything) / len(everything) >= 1)  # fmt: skip


def _spread(e: Evidence) -> Judged:
    return untold("One seed; a standard deviation needs more.") if not any(
        e.worst(p) for p in e.places("base", METHODS)
    ) else untold("Too few seeds.")  # fmt: skip


def _collapse(e: Evidence) -> Judged:
    found = {m: e.collapses(e.places("base", m)) for m in QPU}
    told = "; ".join(
        f"{m}: {', '.join(f'{name} after epoch {epoch}' for name, epoch in runs.items()) or 'none'}"
        for m, runs in found.items()
    )
    places = e.places("base", QPU)
    if not all(found.values()) and sum(bool(e.rows(p)) for p in places) < max(ENOUGH * len(places), 1):
        return untold(f"Too few runs; so far: {told}.")
    return Judged(f"Runs that fell by 30 points or more and stayed there: {told}.", all(found.values()))


def _collapse_order(e: Evidence) -> Judged:
    found = {m: list(e.collapses(e.places("base", m)).values()) for m in QPU}
    if not all(found.values()):
        return untold("Not both collapse here.")
    means = {m: sum(v) / len(v) for m, v in found.items()}
    return Judged(f"Mean epoch: sqpu {means['sqpu']:.1f}, ste {means['ste']:.1f}.", means["sqpu"] < means["ste"])


def _overflow(e: Evidence) -> Judged:
    shares: dict[bool, list[float]] = {True: [], False: []}
    for place in e.places("base", QPU):
        fallen = bool(e.collapses([place]))
        for row in e.rows(place):
            outputs = [
                t["saturated_share"] for t in (row.result or {}).get("tensors", []) if t["name"].endswith(".output")
            ]
            shares[fallen] += [max((s for s in outputs if s is not None), default=0.0)]
    if not shares[True] or not shares[False]:
        return untold("No run collapsed, or all did.")
    means = {fell: sum(v) / len(v) for fell, v in shares.items()}
    return Judged(f"Largest share of saturated outputs of a layer, last epoch: {percent(means[True])}% where runs "
                  f"collapsed, {percent(means[False])}% elsewhere.", means[True] > means[False])  # fmt: skip


FINDINGS: tuple[tuple[str, Judge], ...] = (
    ("All approaches match the baseline's accuracy for certain formats.", _all_match),
    ("Of the QPU variants SQPU generally outperforms HTEQPU.", _sqpu_over_hteqpu),
    ("At lower widths SQPU sometimes surpasses and sometimes trails STE.", _sometimes),
    ("SR in inference gives better performance at lower widths.", _sr_better),
    ("Lower widths need a careful choice of the fractional length.", _careful),
    ("The full range of parameter values is often underutilized.", _unused_range),
    ("Above 12 bits the standard deviation is typically 6% for all approaches.", _spread),
    ("Both STE and SQPU can experience training collapse.", _collapse),
    ("SQPU collapses earlier in training than STE.", _collapse_order),
    ("Layer outputs overflow where training collapses.", _overflow),
)
