"""The report of a store: tables, pictures and one HTML file that opens anywhere, without a server.

What does not belong here: the numbers (`tables`), the pictures (`figures`) and the judgements (`findings`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from html import escape
from importlib.util import find_spec
from pathlib import Path
from string import Template
from urllib.parse import quote

from fxptrain import __version__
from fxptrain.experiments import paper, tables
from fxptrain.experiments.evidence import Sweeps
from fxptrain.experiments.findings import Finding, findings
from fxptrain.experiments.paper import Beside
from fxptrain.experiments.statements import Statement, statements
from fxptrain.experiments.store import Row, Store, Sweep
from fxptrain.experiments.tables import Heat, Summary, percent
from fxptrain.names import file_name, one_line
from fxptrain.run.checkpoint import write_atomically

CAUTION = "Verdicts are about the runs listed here, at their size and number of seeds, and about nothing larger."
MEASURED = (
    "Accuracies are the highest validation accuracy of any epoch and seed, which is most likely what the paper states. "
    "A sentence on several places holds where none contradicts it and half of them have run."
)
TEMPLATE = Path(__file__).parent / "page.html"
MEASURES = (
    ("test accuracy, best epoch", tables.best_accuracy),
    ("test accuracy, last epoch", tables.last_accuracy),
    ("highest validation accuracy of any epoch", tables.peak_accuracy),
)
COMPARED = {"maximum", "mean"}  # statistics beside which the paper's figures stand
NAMES = {"sd": "Standard deviation of"}


def write_report(store: Store, directory: Path | None = None) -> Path:
    """Write ``tables/``, ``figures/``, ``findings.md``, ``statements.md`` and ``report.html``.

    Without matplotlib there are no figures; the report says so.

    Parameters
    ----------
    directory : Path, optional
        Where to; beside the store if left out.

    Returns
    -------
    Path
        The HTML file.
    """
    directory = directory or store.directory
    parts, latest, names = [], {}, set[str]()
    for sweep in store.sweeps():
        rows = store.rows(sweep)
        latest[sweep.name] = (sweep, rows)
        name = f"{file_name(sweep.name)}-{file_name(sweep.scale)}"
        name = f"{name}-{sweep.number}" if name in names else name  # begun again with other code or another definition
        names.add(name)
        _write(directory / "tables" / f"{name}.csv", tables.to_csv(sweep, rows))
        _write(directory / "tables" / f"{name}.md", _markdown(sweep, rows))
        parts.append(_section(sweep, rows, _pictures(directory / "figures", name, sweep, rows)))
    found, figures = findings(latest), paper.beside(_accuracies(latest))
    _write(directory / "findings.md", _findings_markdown(found, figures, [sweep for sweep, _ in latest.values()]))
    judged = list(statements(latest)) if latest.keys() & set(paper.SWEEPS) else []
    _write(directory / "statements.md", _statements_markdown(judged, latest))
    text = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        version=__version__, findings=_findings_html(found), beside=_beside_html(figures),
        statements=_statements_html(judged), sections="\n".join(parts),
    )  # fmt: skip
    _write(directory / "report.html", text)
    return directory / "report.html"


def _accuracies(latest: dict[str, tuple[Sweep, list[Row]]]) -> dict[str, Heat]:
    """Best accuracies of the paper's sweeps; where float32 is one of the methods, its last ones."""
    found = {}
    for name in paper.SWEEPS:
        if name in latest:
            best, last = (tables.heat(*latest[name], m) for m in (tables.best_accuracy, tables.last_accuracy))
            floats = {place: values for place, values in last.values.items() if place[0] == "float32"}
            found[name] = replace(best, values=best.values | floats)
    return found


def _write(path: Path, text: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, [text if isinstance(text, bytes) else text.encode()])


def _pictures(directory: Path, name: str, sweep: Sweep, rows: list[Row]) -> dict[str, bytes]:
    """Save all figures as PNG and SVG; the SVGs by title."""
    if find_spec("matplotlib") is None or not any(row.result for row in rows):
        return {}
    from fxptrain.experiments.figures import draw_all, load_pyplot, saved

    found = {}
    for title, figure in draw_all(sweep, rows).items():
        for kind in ("png", "svg"):
            picture = saved(figure, kind)
            _write(directory / f"{name}-{title}.{kind}", picture)
        found[title] = picture
        load_pyplot().close(figure)
    return found


# Text ----------------------------------------------------------------------------------------------------------------


def _markdown(sweep: Sweep, rows: list[Row]) -> str:
    """All tables of a sweep."""
    head = one_line(f"# {sweep.name}, {sweep.scale}")
    parts = [head, one_line(f"{_title(sweep)} {_reduction(sweep)}"), _state(rows)]
    if sweep.name in paper.SWEEPS:
        parts.append(f"Column {paper.NOTE}")
    for title, measure in MEASURES:
        table = tables.heat(sweep, rows, measure)
        for statistic in tables.STATISTICS:
            stated = _stated(sweep) if statistic in COMPARED else ()
            name = NAMES.get(statistic, statistic.capitalize())
            parts += [f"## {name} {title}, %", tables.to_markdown(table, statistic, *stated)]
    return "\n\n".join(parts)


def _stated(sweep: Sweep) -> tuple[tables.Stated, tables.Stated]:
    """What the paper states of rows and of columns of a sweep's accuracies."""
    return partial(paper.best, sweep.name), partial(paper.at_batch, sweep.name)


def _reduction(sweep: Sweep) -> str:
    return f"Reduction: {sweep.reduction.rstrip('.')}."


def _title(sweep: Sweep) -> str:
    title = sweep.definition["title"] or sweep.name
    return f"{title}."


def _state(rows: list[Row]) -> str:
    """How many cells have ended, and which of them failed."""
    states = [row.state for row in rows]
    text = f"{states.count('done')} of {len(rows)} cells finished"
    return f"{text}, {states.count('failed')} failed." if "failed" in states else f"{text}."


def _findings_markdown(found: list[Finding], figures: list[Beside], sweeps: list[Sweep]) -> str:
    lines = ["# What the paper states, and what it leaves open, on true integers", ""]
    told = (f"- {sweep.name}: {sweep.reduction} (numerics {sweep.numerics}, begun {sweep.created})" for sweep in sweeps)
    lines += map(one_line, told)
    lines += ["", "| its figures | paper | here |", "|---|---|---|"]
    lines += [f"| {figure.quantity} | {figure.paper} | {figure.here} |" for figure in figures]
    lines += ["", CAUTION]
    for finding in found:
        measured, verdict = (text.replace("*", r"\*") for text in (finding.measured, finding.verdict.capitalize()))
        lines += ["", f"## {finding.statement}", "", f"Source: {finding.source} (doi 10.3897/jucs.164737).", "",
                  f"Measured: {measured}", "", f"**{verdict}.**"]  # fmt: skip
    return "\n".join(lines) + "\n"


def _statements_markdown(judged: list[Statement], latest: Sweeps) -> str:
    """Every sentence of the paper by section."""
    counts = Counter(statement.judged.verdict for statement in judged)
    lines = ["# The paper's statements, one by one, on true integers", ""]
    for sweep, rows in latest.values():
        lines.append(f"- {sweep.name}: {_reduction(sweep)} {_state(rows)}")
    lines += [
        "",
        f"{len(judged)} statements: {', '.join(f'{n} {verdict}' for verdict, n in sorted(counts.items()))}. {MEASURED}",
    ]
    for section in dict.fromkeys(statement.section for statement in judged):
        lines += ["", f"## {section}", "", "| the paper | here | verdict |", "|---|---|---|"]
        lines += [
            f"| {s.text} | {s.judged.measured} | **{s.judged.verdict}** |".replace("|w|", "abs w")
            for s in judged
            if s.section == section
        ]
    return "\n".join(lines) + "\n"


# HTML ----------------------------------------------------------------------------------------------------------------


def _section(sweep: Sweep, rows: list[Row], pictures: dict[str, bytes]) -> str:
    note = f"{escape(_title(sweep))} {escape(_state(rows))}"
    head = f"<h2>{escape(sweep.name)}, scale {escape(sweep.scale)}</h2>\n<p>{note}</p>"
    parts = [head, f'<p class="reduction">{escape(_reduction(sweep))}</p>']
    if not pictures:
        parts.append("<p>No figures: nothing has finished, or <code>fxptrain[plot]</code> is not installed.</p>")
    for title, svg in pictures.items():
        source = _address(svg)
        words = escape(title.replace("-", " "))
        number = paper.FIGURES.get((sweep.name, title))
        words += f" (the paper's figure {number})" if number else ""
        parts.append(f'<figure><img alt="{words}" src="{source}"><figcaption>{words}. '
                     f"{escape(_reduction(sweep))}</figcaption></figure>")  # fmt: skip
    for title, measure in MEASURES:
        table = tables.heat(sweep, rows, measure)
        body = "\n".join(_table(table, panel, *_stated(sweep)) for panel in table.panels)
        parts.append(f"<details><summary>Numbers: {title}, %</summary>\n{body}\n</details>")
    failed = [row for row in rows if row.state == "failed"]
    if failed:
        told = (f"{', '.join(row.coordinates.values())}: {row.error or ''}" for row in failed)
        parts.append(f"<h3>Failed cells</h3><ul>{''.join(f'<li>{escape(line)}</li>' for line in told)}</ul>")
    facts = f"Numerics {sweep.numerics}, begun {sweep.created}."
    return f'<section>{"".join(parts)}<p class="reduction">{escape(facts)}</p></section>'


def _address(svg: bytes) -> str:
    """A picture in the page itself; as text, which is shorter than base64."""
    return "data:image/svg+xml," + quote(svg.decode().replace('"', "'"), safe=" !$()*+,-./:;<=>@[]^_`{|}~'")


def _table(table: Heat, panel: str, of_row: tables.Stated, of_column: tables.Stated) -> str:
    """Maximum, mean and standard deviation in each cell."""
    text = tables.panel_text(table, panel, _cell, of_row, of_column)
    head = "".join(f"<th>{escape(column)}</th>" for column in text.heads[1:])
    lines = [
        f"<tr><th>{escape(line[0])}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in line[1:])}</tr>"
        for line in text.lines
    ]
    return (f'<div class="scroll"><table><caption>{escape(panel)}: maximum / mean &plusmn; standard deviation</caption>'
            f"<tr><th></th>{head}</tr>{''.join(lines)}</table></div>")  # fmt: skip


def _cell(cell: Summary | None) -> str:
    return "-" if cell is None else f"{percent(cell.maximum)} / {percent(cell.mean)} \u00b1 {percent(cell.sd)}"


def _beside_html(figures: list[Beside]) -> str:
    rows = "".join(
        f'<tr><td>{escape(f.quantity)}</td><td data-head="the paper">{escape(f.paper)}</td>'
        f'<td data-head="here">{escape(f.here)}</td></tr>'
        for f in figures
    )
    head = "<tr><th>its figures</th><th>the paper</th><th>here</th></tr>"
    note = f'<p class="reduction">Column {escape(paper.NOTE)}</p>'
    return f'<div class="scroll"><table class="words">{head}{rows}</table></div>{note}'


def _statements_html(judged: list[Statement]) -> str:
    head = "<tr><th>The paper</th><th>here</th><th>verdict</th></tr>"
    parts = [f"<p>{MEASURED}</p>"]
    for section in dict.fromkeys(statement.section for statement in judged):
        rows = "".join(
            f'<tr><td>{escape(s.text)}</td><td data-head="here">{escape(s.judged.measured)}</td>'
            f'<td data-head="verdict"><strong>{escape(s.judged.verdict)}</strong></td></tr>'
            for s in judged
            if s.section == section
        )
        parts.append(f'<h3>{escape(section)}</h3><div class="scroll"><table class="words">{head}{rows}</table></div>')
    return "\n".join(parts)


def _findings_html(found: list[Finding]) -> str:
    rows = "".join(
        f"<tr><td>{escape(f.statement)}</td><td>{escape(f.source)}</td><td>{escape(f.measured)}</td>"
        f"<td><strong>{escape(f.verdict)}</strong></td></tr>"
        for f in found
    )
    head = "".join(f"<th>{word}</th>" for word in ("The paper", "where", "here", "verdict"))
    return f'<p>{CAUTION}</p><div class="scroll"><table class="words"><tr>{head}</tr>{rows}</table></div>'
