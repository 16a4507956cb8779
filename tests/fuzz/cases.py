"""What a case of each format is: a strategy of files, most of them almost right, and a command that reads them."""

import atexit
import gzip
import hashlib
import io
import json
import shutil
import sqlite3
import struct
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from fxptrain import train
from fxptrain.experiments.grid import load_grid
from fxptrain.experiments.runner import run_sweep
from fxptrain.experiments.store import FILE, Store
from fxptrain.export.source import Options
from fxptrain.export.targets import export_run
from fxptrain.recipe.schema import toml_text
from fxptrain.run.checkpoint import MAGIC, VERSION
from tests.data.idx_files import idx_bytes
from tests.experiments.grids import tiny_grid
from tests.fuzz.judge import Case
from tests.fuzz.mutations import FLOATS, INTEGERS, TEXTS, damaged, documents, integers, plain_values, texts
from tests.small import save_npz, small_data, small_recipe

PREAMBLE = struct.Struct("<8sIIQ32s")
ONE = ["--threads", "1"]


# Whole files -----------------------------------------------------------------------------------------------------


@cache
def workshop() -> Path:
    """A directory with whole files of every format, made once."""
    home = Path(tempfile.mkdtemp(prefix="fxptrain-fuzz-whole-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    data = small_data(60)
    save_npz(data, home / "small.npz", classes=data.classes)
    recipe = small_recipe(data__name=str(home / "small.npz"), training__epochs=2, data__validation=5)
    (home / "small.toml").write_text(recipe.to_toml(), encoding="utf-8")
    train(recipe, out=home / "run", threads=1)
    run = train(recipe, threads=1)
    for kind, options in (("c", Options(training=True)), ("npz", Options()), ("header", Options())):
        export_run(run, kind, home / kind, options)
    return home


@cache
def whole_store() -> bytes:
    """The file of a sweep, some of whose cells have ended."""
    home = workshop() / "sweep"
    home.mkdir()
    grid = load_grid(tiny_grid(home, epochs=1))
    with Store(home) as store:
        run_sweep(store, store.begin(grid, "half", grid.cells("half")))
        store.begin(grid, "full", grid.cells())
    return (home / FILE).read_bytes()


@cache
def whole_graph() -> bytes:
    """A float model on the small data."""
    from tests.importing.files import File

    file = File((1, 6, 6)).conv(1, 4, 3).add("Relu").add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    data: bytes = file.add("Flatten").gemm(16, 3).model().SerializeToString()
    return data


def _run_files(**changed: bytes | Path) -> dict[str, bytes | Path]:
    run = workshop() / "run"
    files: dict[str, bytes | Path] = {
        f"run/{name}": run / name for name in ("config.toml", "checkpoint.fxp", "best.fxp", "metrics.jsonl")
    }
    return files | {f"run/{name.replace('__', '.')}": content for name, content in changed.items()}


# Formats ---------------------------------------------------------------------------------------------------------


@st.composite
def idx(draw: st.DrawFn) -> Case:
    """Four IDX files of which one is spoilt: type, dimensions, extents, values, compression."""
    data = small_data(60)
    parts = {"train": data.train, "t10k": data.test}
    files: dict[str, bytes | Path] = {}
    for stem, split in parts.items():
        files[f"data/{stem}-images-idx3-ubyte"] = idx_bytes(split.inputs[..., 0])
        files[f"data/{stem}-labels-idx1-ubyte"] = idx_bytes(split.labels.astype(np.uint8))
    name = draw(st.sampled_from(sorted(files)))
    spoilt = draw(damaged(files[name]) | _idx_like())  # type: ignore[arg-type]
    if draw(st.booleans()):
        spoilt = gzip.compress(spoilt, 1, mtime=0)
        if draw(st.booleans()):
            spoilt = draw(damaged(spoilt))
    files[name] = spoilt
    if draw(st.booleans()):
        return Case("idx", _run_files() | {"x": spoilt}, ["predict", "run", "x", *ONE])
    return Case("idx", _run_files() | files, ["evaluate", "run", "--data", "data", *ONE])


@st.composite
def _idx_like(draw: st.DrawFn) -> bytes:
    count = draw(st.integers(0, 5) | st.sampled_from((8, 9, 64, 100, 255)))
    extents = [draw(st.integers(0, 12) | st.sampled_from(INTEGERS)) & 0xFFFFFFFF for _ in range(count)]
    kind = draw(st.sampled_from((8, 9, 0x0B, 0x0C, 0x0D, 0x0E, 0, 10, 255)))
    return struct.pack(f">HBB{count}I", 0, kind, count, *extents) + draw(st.binary(max_size=200))


@st.composite
def npz(draw: st.DrawFn) -> Case:
    """Archives and single arrays with spoilt members: headers, names, values, sizes, compression."""
    data = small_data(60)
    arrays: dict[str, Any] = {
        "x_train": data.train.inputs, "y_train": data.train.labels, "x_test": data.test.inputs,
        "y_test": data.test.labels, "classes": np.array(data.classes),
    }  # fmt: skip
    name = draw(st.sampled_from(sorted(arrays)))
    spoilt = draw(_npy(arrays[name]))
    if draw(st.integers(0, 4)) == 0:
        return Case("npz", _run_files() | {"x.npy": spoilt}, ["predict", "run", "x.npy", *ONE])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", draw(st.sampled_from((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))) as archive:
        for key, values in arrays.items():
            if key == name:
                called = draw(st.sampled_from((f"{key}.npy", f"{key}.npy", f"{key}.npy", key, "../x.npy", "y.npy")))
                archive.writestr(called, spoilt)
            else:
                archive.writestr(f"{key}.npy", _npy_bytes(values))
    content = packed.getvalue()
    if draw(st.integers(0, 3)) == 0:
        content = draw(damaged(content))
    command = ["predict", "run", "x.npz"] if draw(st.booleans()) else ["evaluate", "run", "--data", "x.npz"]
    return Case("npz", _run_files() | {"x.npz": content}, [*command, *ONE])


def _npy_bytes(values: Any) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, values)
    return file.getvalue()


@st.composite
def _npy(draw: st.DrawFn, values: Any) -> bytes:
    if draw(st.booleans()):
        return draw(damaged(_npy_bytes(values)))
    if draw(st.booleans()):
        kinds = ("i1", "u2", "i8", "f2", "f4", "f8", "c8", "?", "U3", "S3", "M8[s]", "V5")
        return _npy_bytes(np.zeros(draw(_shapes()), draw(st.sampled_from(kinds))))
    shape = tuple(draw(st.lists(st.integers(0, 12) | st.sampled_from(INTEGERS), max_size=5)))
    kind = draw(
        st.sampled_from(("'|u1'", "'<f4'", "'>i8'", "'|O'", "'<f4,<i2'", "'z'", "''", "[('a','<i4')]", "'<U9999'"))
    )
    order = draw(st.sampled_from(("False", "True", "0", "None")))
    text = f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}, }}"
    text = draw(st.sampled_from((text, text, text, "(" * 500, "[]", "{}", "1", text.replace("shape", "shap"))))
    head = (text + " " * (63 - (10 + len(text)) % 64) + "\n").encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head) & 0xFFFF) + head + draw(st.binary(max_size=300))


def _shapes() -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(st.integers(0, 7), max_size=5).map(tuple) | st.just((50, 36)) | st.just((50, 6, 6))


@st.composite
def csv(draw: st.DrawFn) -> Case:
    """Tables with spoilt cells, lines, quotes and encodings."""
    data = small_data(60)
    rows = [[data.classes[label], *pixels] for pixels, label in zip(
        data.test.inputs.reshape(-1, 36).tolist(), data.test.labels, strict=True)]  # fmt: skip
    lines = [",".join(map(str, row)) for row in rows]
    if draw(st.booleans()):
        lines = [",".join(["label", *(f"p{i}" for i in range(36))]), *lines]
    pieces = (
        *TEXTS[:-2], *map(str, INTEGERS), *map(str, FLOATS), '"', '""', '"a,b"', '"a\nb"', ",", ",,,", "\t", ";", "#",
        "1e400", "0x10", "1_0", "\ufeff", "\x00", "x" * 140_000, "1" * 140_000, '"' + "x" * 140_000 + '"', "1," * 5000,
    )  # fmt: skip
    content = draw(texts(lines, pieces) | damaged("\n".join(lines).encode()))
    command = ["predict", "run", "x.csv"] if draw(st.booleans()) else ["evaluate", "run", "--data", "x.csv"]
    return Case("csv", _run_files() | {"x.csv": content}, [*command, *ONE])


def _toml_values() -> st.SearchStrategy[Any]:
    return plain_values() | st.sampled_from(
        ("conv2d", "linear", "relu", "maxpool2d", "add", "cosine", "plateau", "fixed", "auto", "ste", "glyphs")
    )


def _toml(table: Any) -> bytes:
    try:
        return toml_text(table).encode("utf-8", "surrogatepass")
    except (TypeError, ValueError, AttributeError, RecursionError):
        return repr(table)[:1000].encode()


@st.composite
def toml(draw: st.DrawFn) -> Case:
    """Recipes, grids and options with spoilt keys and values."""
    recipe = small_recipe(data__name=str(workshop() / "small.npz"), training__epochs=1).table()
    what = draw(st.sampled_from(("info", "info", "train", "grid", "set", "damaged")))
    if what == "damaged":
        content = draw(damaged(toml_text(recipe).encode()) | texts(toml_text(recipe).splitlines(), TEXTS))
        return Case("toml", {"x.toml": content}, ["info", "x.toml"])
    if what == "grid":
        whole_store()
        text = (workshop() / "sweep/tiny.toml").read_text(encoding="utf-8")
        content = draw(damaged(text.encode()) | texts(text.splitlines(), [*TEXTS, *map(str, INTEGERS)]))
        files: dict[str, bytes | Path] = {"x.toml": content, "small.toml": workshop() / "sweep/small.toml"}
        return Case("toml", files, ["experiment", "x.toml", "--scale", "none of these"])
    if what == "set":
        key = draw(st.sampled_from(("training.epochs", "model.layers", "data", "x", "a.b.c", "formats.param_bits", "")))
        value = draw(st.sampled_from(TEXTS) | integers().map(str) | plain_values().map(repr))
        return Case("toml", {}, ["info", str(workshop() / "small.toml"), "--bits", value[:50].replace("\0", "")]) if (
            draw(st.booleans())
        ) else Case("toml", {"x.toml": workshop() / "small.toml"}, ["memory", "x.toml", "--operations", "--set",
                                                                    f"{key}={value}".replace("\0", "")])  # fmt: skip
    content = _toml(draw(documents(recipe, values=_toml_values())))
    if what == "info":
        return Case("toml", {"x.toml": content}, ["info", "x.toml"])
    short = ["--memory-limit", "64MB", "--epochs", "1", "--limit", "32", "--out", "out"]
    return Case("toml", {"x.toml": content}, ["train", "x.toml", *short, *ONE])


def signed(values: Any, arrays: bytes) -> bytes:
    """A checkpoint whose checksum is right, whatever it holds."""
    header = json.dumps(values).encode("utf-8", "surrogatepass")
    body = header + arrays
    size = PREAMBLE.size + len(body)
    return PREAMBLE.pack(MAGIC, VERSION, len(header), size, hashlib.sha256(body).digest()) + body


@st.composite
def _checkpoints(draw: st.DrawFn, whole: bytes) -> bytes:
    """A checkpoint damaged, or with another header and a right checksum."""
    if draw(st.integers(0, 3)) == 0:
        return draw(damaged(whole))
    length = PREAMBLE.unpack_from(whole)[2]
    header, arrays = whole[PREAMBLE.size :][:length], whole[PREAMBLE.size + length :]
    spoilt = draw(documents(json.loads(header)))
    return signed(spoilt, draw(damaged(arrays)) if draw(st.integers(0, 3)) == 0 else arrays)


@st.composite
def checkpoint(draw: st.DrawFn) -> Case:
    """Run directories with spoilt checkpoints, metrics and configuration, some signed again."""
    run = workshop() / "run"
    which = draw(st.sampled_from(("checkpoint", "checkpoint", "checkpoint", "best", "metrics", "config")))
    if which == "metrics":
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        spoilt = (
            "".join(json.dumps(item) + "\n" for item in draw(documents(lines)) or []) if draw(st.booleans()) else None
        )
        content = draw(damaged((run / "metrics.jsonl").read_bytes())) if spoilt is None else spoilt.encode()
        files = _run_files(metrics__jsonl=content)
    elif which == "config":
        files = _run_files(config__toml=draw(damaged((run / "config.toml").read_bytes())))
    else:
        files = _run_files(**{f"{which}__fxp": draw(_checkpoints((run / f"{which}.fxp").read_bytes()))})
    command = draw(st.sampled_from((
        ["evaluate", "run", *ONE], ["evaluate", "run", "--best", *ONE], ["info", "run"],
        ["train", "--resume", "--out", "run", "--memory-limit", "64MB", *ONE],
    )))  # fmt: skip
    writes = ("run/checkpoint.fxp", "run/best.fxp", "run/metrics.jsonl") if command[0] == "train" else ()
    return Case("checkpoint", files, command, writes)


@st.composite
def onnx(draw: st.DrawFn) -> Case:
    """Float models with spoilt nodes, shapes, attributes and constants."""
    import onnx as library

    if draw(st.integers(0, 2)) == 0:
        content = draw(damaged(whole_graph()))
    else:
        model = library.load_from_string(whole_graph())
        for _ in range(draw(st.integers(1, 2))):
            draw(_graph_change(model))
        content = model.SerializeToString()
    data = ["--data", str(workshop() / "small.npz"), "--out", "out", "--samples", "8", "--set", "data.validation=0"]
    return Case("onnx", {"x.onnx": content}, ["import", "x.onnx", *data, *ONE])


@st.composite
def _graph_change(draw: st.DrawFn, model: Any) -> None:
    """Change something of a graph."""
    graph = model.graph
    number = draw(integers())
    small = max(min(number, (1 << 63) - 1), -(1 << 63))
    match draw(
        st.sampled_from(("dims", "input", "attribute", "operator", "wire", "remove", "data", "name", "version"))
    ):
        case "dims" if graph.initializer:
            tensor = draw(st.sampled_from(list(graph.initializer)))
            if tensor.dims and draw(st.booleans()):
                tensor.dims[draw(st.integers(0, len(tensor.dims) - 1))] = small
            else:
                tensor.dims.append(small)
        case "input" if graph.input:
            dims = graph.input[0].type.tensor_type.shape.dim
            if dims:
                dims[draw(st.integers(0, len(dims) - 1))].dim_value = small
        case "attribute":
            node = draw(st.sampled_from(list(graph.node))) if graph.node else None
            if node is not None and node.attribute:
                item = draw(st.sampled_from(list(node.attribute)))
                if item.ints:
                    item.ints[draw(st.integers(0, len(item.ints) - 1))] = small
                item.i = small
        case "operator" if graph.node:
            node = draw(st.sampled_from(list(graph.node)))
            node.op_type = draw(
                st.sampled_from(("Relu", "Softmax", "Reshape", "Loop", "", "x", "Transpose", "Add", "Shape"))
            )
        case "wire" if graph.node:
            node = draw(st.sampled_from(list(graph.node)))
            if node.input:
                node.input[draw(st.integers(0, len(node.input) - 1))] = draw(
                    st.sampled_from(("", "input", "c0", "t1", "x"))
                )
        case "remove" if graph.node:
            del graph.node[draw(st.integers(0, len(graph.node) - 1))]
        case "data" if graph.initializer:
            tensor = draw(st.sampled_from(list(graph.initializer)))
            tensor.raw_data = draw(damaged(tensor.raw_data))
            tensor.data_type = draw(st.sampled_from((tensor.data_type, tensor.data_type, 0, 7, 8, 10, 16, 99)))
        case "name":
            graph.name = draw(st.sampled_from(TEXTS[:20]))
            tensor = draw(st.sampled_from(list(graph.initializer)))
            tensor.data_location = draw(st.sampled_from((0, 1)))
            if tensor.data_location:
                entry = tensor.external_data.add()
                entry.key, entry.value = "location", draw(st.sampled_from(("../x", "/etc/passwd", "x", "")))
        case _:
            model.ir_version = small
            model.opset_import[0].version = draw(st.sampled_from((0, 1, 7, 17, 99, 1 << 40)))


@st.composite
def store(draw: st.DrawFn) -> Case:
    """Stores with damaged pages, or with columns that hold something else."""
    whole = whole_store()
    content = draw(damaged(whole)) if draw(st.integers(0, 3)) == 0 else _altered(whole, draw(_statements()))
    if draw(st.integers(0, 9)) == 0:
        content = draw(damaged(whole[:4096] + whole[8192:]))
    command = draw(st.sampled_from((["status", "x"], ["status", "x", "--release"], ["report", "x"])))
    return Case("store", {f"x/{FILE}": content}, ["experiment", *command], (f"x/{FILE}",))


@st.composite
def _statements(draw: st.DrawFn) -> list[tuple[str, tuple[Any, ...]]]:
    columns = {
        "sweeps": ("id", "name", "scale", "code", "definition", "reduction", "created"),
        "cells": ("key", "config", "state", "owner", "attempts", "error", "result", "timing"),
        "places": ("sweep", "position", "coordinates", "key"),
    }
    found: list[tuple[str, tuple[Any, ...]]] = []
    for _ in range(draw(st.integers(1, 2))):
        table = draw(st.sampled_from(sorted(columns)))
        column = draw(st.sampled_from(columns[table]))
        if column in ("definition", "config", "result", "timing", "coordinates") and draw(st.booleans()):
            found.append((f"{table}.{column}", (draw(documents({})), draw(st.integers(0, 1 << 30)))))
            continue
        value = draw(st.none() | st.sampled_from(TEXTS) | st.binary(max_size=9) | st.integers(-(1 << 63), (1 << 63) - 1)
                     | plain_values().map(lambda item: json.dumps(item)))  # fmt: skip
        found.append((f"UPDATE OR REPLACE {table} SET {column} = ? WHERE rowid % 2", (value,)))
    if draw(st.integers(0, 5)) == 0:
        extra = ("CREATE TABLE other (x)", "CREATE VIEW v AS SELECT 1", "DROP TABLE places", "PRAGMA user_version = 9",
                 "CREATE TRIGGER t AFTER UPDATE ON cells BEGIN DELETE FROM cells; END", "PRAGMA user_version = 0",
                 "DELETE FROM sweeps", "ALTER TABLE cells RENAME COLUMN owner TO other")  # fmt: skip
        found.append((draw(st.sampled_from(extra)), ()))
    return found


def _altered(whole: bytes, statements: list[tuple[str, tuple[Any, ...]]]) -> bytes:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / FILE
        path.write_bytes(whole)
        database = sqlite3.connect(path, isolation_level=None)
        try:
            database.execute("PRAGMA ignore_check_constraints = ON")
            for statement, values in statements:
                try:
                    if "." in statement and " " not in statement:
                        _spoil_column(database, *statement.split("."), *values)
                    else:
                        database.execute(statement, values)
                except (sqlite3.Error, UnicodeEncodeError, OverflowError):
                    continue
        finally:
            database.close()
        return path.read_bytes()


def _spoil_column(database: sqlite3.Connection, table: str, column: str, piece: Any, seed: int) -> None:
    """Put a value somewhere into the JSON of a column."""
    for rowid, text in database.execute(f"SELECT rowid, {column} FROM {table} WHERE {column} IS NOT NULL").fetchall():
        document = json.loads(text)
        place, path = document, seed
        while isinstance(place, dict | list) and place:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = keys[path % len(keys)]
            path //= len(keys) + 1
            if not isinstance(place[key], dict | list) or not place[key] or path % 3 == 0:
                place[key] = piece
                break
            place = place[key]
        database.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (json.dumps(document), rowid))


@st.composite
def export(draw: st.DrawFn) -> Case:
    """Exports with changed, missing and added files, and with sources that are signed again."""
    kind = draw(st.sampled_from(("c", "npz", "header")))
    folder = workshop() / kind
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    files: dict[str, bytes | Path] = {f"x/{path.relative_to(folder).as_posix()}": path for path in found}
    name = draw(st.sampled_from(sorted(files)))
    match draw(st.sampled_from(("source", "source", "source", "damage", "missing"))):
        case "source":
            files["x/source.fxp"] = draw(_checkpoints((folder / "source.fxp").read_bytes()))
        case "damage":
            files[name] = draw(damaged((folder / name.removeprefix("x/")).read_bytes()))
        case "missing":
            del files[name]
    options = ["--samples", "1", "--steps", "1", "--cflags", "-O0"]
    return Case("export", files, ["verify", "x", *options], findings=True)


FORMATS = {
    "idx": idx, "npz": npz, "csv": csv, "toml": toml, "checkpoint": checkpoint, "onnx": onnx, "store": store,
    "export": export,
}  # fmt: skip
