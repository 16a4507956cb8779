"""The edge of the program: every kind of mistake, file and machine's fault is one line and an exit code."""

import errno
import os
import re
import sqlite3
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest

from fxptrain.cli.boundary import BUG, MACHINE, MISTAKE, explained
from fxptrain.cli.main import main
from fxptrain.errors import CheckpointError, DataError
from fxptrain.experiments.store import FILE, Store
from fxptrain.run.checkpoint import read_checkpoint, write_checkpoint
from fxptrain.run.stopping import Stopped
from tests.data.idx_files import write_set
from tests.small import save_npz, small_data, small_recipe


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Path of a small recipe with data in a file, in an empty working directory."""
    save_npz(small_data(), tmp_path / "small.npz")
    path = tmp_path / "small.toml"
    path.write_text(small_recipe(data__name=str(tmp_path / "small.npz")).to_toml(), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return str(path)


FULL = OSError(errno.ENOSPC, "No space left on device", "x")


def because(error: Exception, cause: BaseException) -> Exception:
    """An error with a cause."""
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (DataError("x.csv: is empty."), "x.csv: is empty.", MISTAKE),
        (because(CheckpointError("x cannot be written."), FULL), "x cannot be written.", MACHINE),
        (because(CheckpointError("x is damaged."), sqlite3.DatabaseError()), "x is damaged.", MISTAKE),
        (FULL, "x: No space left on device.", MACHINE),
        (FileNotFoundError(2, "No such file or directory", b"\xff"), "\udcff: No such file or directory.", MISTAKE),
        (OSError("odd"), "Reading or writing failed: odd.", MISTAKE),
        (MemoryError("32 GiB"), "There is not enough memory (32 GiB). Use smaller data", MACHINE),
        (RecursionError(), "The input is nested too deeply to be read.", MISTAKE),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"), "A name or a file is not the text", MISTAKE),
        (zlib.error("bad"), "A file cannot be read (error: bad).", MISTAKE),
        (EOFError("end"), "A file cannot be read (EOFError: end).", MISTAKE),
        (sqlite3.OperationalError("locked"), "A file cannot be read (OperationalError: locked).", MISTAKE),
        (Stopped(15, "fxptrain x"), "stopped; go on with: fxptrain x", 143),
        (KeyboardInterrupt(), "stopped.", 130),
        (KeyError("x"), "This is a bug of fxptrain, please report it: KeyError in ?: 'x'.", BUG),
    ],
)
def test_kinds(error: BaseException, line: str, code: int) -> None:
    """What each kind of error is called, and whose fault it is."""
    found = explained(error)
    assert (found[0][: len(line)], found[1]) == (line, code)


def test_debug(capsys: pytest.CaptureFixture[str]) -> None:
    """With --debug the traceback comes before the line, and the exit code is the same."""
    assert main(["--debug", "evaluate", "nowhere"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1].startswith("fxptrain: There is no run in nowhere")


def test_bugs_are_told_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody expected is a line as well, with the place."""
    monkeypatch.setattr("fxptrain.run.report.recipes", lambda: {}["x"])
    assert main(["info"]) == 70
    assert re.fullmatch(r"fxptrain: This is a bug .*KeyError in test_boundary.py:\d+: .*\n", capsys.readouterr().err)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 2) -> str:
    """The one line of a refusal: at most 400 characters, 1,600 of a recipe's mistakes."""
    assert main(list(arguments)) == code
    told = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("fxptrain: note: ")]
    assert len(told) == 1
    assert len(told[0]) <= (1600 if ".toml: " in told[0] else 400)
    return told[0]


DEEP = "[" * 5000
OPTIONS = [
    (["train", "glyphs", "--set", f"data.limit={DEEP}"], "`--set data.limit` is nested too deeply"),
    (["train", "glyphs", "--set", "training.epoch="], "`training.epoch` is no key of .*did you mean 'epochs'"),
    (["train", "glyphs", "--set", "model.layers="], "`model.layers` is missing"),
    (["train", "glyphs", "--set", "formats.saturation=0"], r"`saturation` \(=0\) must be 1 to 30: .* Leave it out"),
    (["train", "glyphs", "--set", "formats.saturation=31"], r"`saturation` \(=31\) must be 1 to 30"),
    (["train", "glyphs", "--set", "formats.adapt_every=0"], r"`adapt_every` \(=0\) must be 1 or more"),
    (["train", "glyphs", "--set", "formats.adapt_every=-1"], r"`adapt_every` \(=-1\) must be 1 or more"),
    (["train", "glyphs", "--set", 'model.name=""'], r"`model.name` \(=''\): .* at least 1 character"),
    (["train", "glyphs", "--set", "description.x=1"], "`description` is a value, not a section"),
    (["train", "glyphs", "--set", f"training.seed={'9' * 5000}"], "`training.seed`"),
    (["train", "glyphs", "--epochs", "9" * 5000], "is not a valid integer"),
    (["train", "glyphs", "--batch-size", "2147483647"], "planned to take .* Use what fits"),
    (["train", "glyphs", "--memory-limit", "1" * 5000], "is not a number of bytes"),
    (["train", "glyphs", "--threads", "1025"], "is not in the range 1<=x<=1024"),
    (["train", "glyphs", "--data", "\udcff\udcfe"], "data.name.*unable to parse raw data as a unicode string"),
    (["train", "--resume", "--out", "nowhere"], "There is no run in nowhere to go on with; name the recipe"),
    (["memory", "glyphs", "--set", "model.input_shape=[1048576, 1048576, 1]"], "more than the 2,147,483,647 elements"),
    (["memory", "glyphs", "--batch-size", "20000000"], "there are .* so that it cannot be measured"),
    (["info", "x" * 300 + ".toml"], "File name too long"),
    (["info", ""], "An argument is empty, which would name the current directory"),
    (["train", "glyphs", "--out", ""], "An argument is empty"),
    (["memory", "glyphs", "--plot", "/"], "cannot be written to /: it is a directory"),
    (["evaluate", "x" * 300], "There is no run in xxx"),
    (["evaluate", "\udcff\udcfe"], r"There is no run in \\udcff\\udcfe"),
    (["experiment", "status", "."], "There is no sweep in ."),
    (["experiment", "list\n"], "There is no experiment"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), OPTIONS, ids=lambda value: str(value)[:30])
def test_options(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """What a user can type."""
    monkeypatch.chdir(tmp_path)
    assert re.search(message, refused(capsys, *arguments))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("features", [1 << 20, 1 << 31, 1 << 40, 1 << 62, 1 << 63, -1, 0])
def test_sizes_of_layers(features: int, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Shapes are refused before anything of their size is made."""
    text = small_recipe().to_toml().replace("features = 3", f"features = {features}")
    text = text.replace("channels = 4", "channels = 100000")
    (tmp_path / "x.toml").write_text(text, encoding="utf-8")
    assert re.search(
        "elements an array|parameters|positive|integer|range", refused(capsys, "info", str(tmp_path / "x.toml"))
    )


NPY = b"\x93NUMPY\x01\x00\x76\x00"


def npy(shape: str, kind: str = "|u1") -> bytes:
    """A header of an array, and nothing behind it."""
    return NPY + f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.npy", npy("()"), "is a single value"),
        ("x.npy", npy("(34359738368,)"), "its header promises 34359738368 bytes"),
        ("x.npy", npy("(9223372036854775808, 2)"), "its header promises 18446744073709551616 bytes"),
        ("x.npy", npy("(0, 9223372036854775807, 3)"), "has extents beyond all memory"),
        ("x", b"\0\0\x08\x04" + bytes(4) + b"\xff" * 12, "has extents beyond all memory"),
        ("x.npy", npy("(36L,)"), "its header promises 36 bytes"),  # as Python 2 wrote it
        ("x.npy", npy("(1,)", "|O"), "holds Python objects"),
        ("x.npy", npy("(" + "1," * 30 + ")"), "dimensions are the most"),
        ("x.npy", b"nonsense", "is no array of NumPy"),
        ("x.csv", b'1,"' + b"x" * 140_000 + b'"\n2,3\n', "is no table of comma-separated values"),
        ("x", b"\0\0\x08\x64" + bytes(400), "has 100 dimensions"),
        ("x", b"\0\0\x08\x03" + b"\x7f\xff\xff\xff" * 3, "is truncated; its header promises"),
    ],
)
def test_data_files(
    name: str,
    content: bytes,
    message: str,
    capsys: pytest.CaptureFixture[str],
    recipe: str,
    tmp_path: Path,
) -> None:
    """Headers that promise what is not there."""
    assert main(["train", recipe, "--epochs", "1", "--out", "run"]) == 0
    capsys.readouterr()
    (tmp_path / name).write_bytes(content)
    assert message in refused(capsys, "predict", "run", name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" + "a." * 50_000 + "a]", "nested too deeply"), ("a = " + "[" * 100_000, "nested too deeply"),
        ("".join(f"k{i} = 1\n" for i in range(60_000)), "`k0` is no key of a recipe"), ("a = 1\na = 2", "no TOML"),
        ("description = 1979-05-27", "`description` (=datetime.date(1979, 5, 27))"),
        ("a = " + "9" * 900_000, "no TOML"), ("x" * 1_000_000 + "." * 10, "no TOML"),
    ],
)  # fmt: skip
def test_texts(text: str, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Deep, long and odd TOML is refused within seconds."""
    (tmp_path / "x.toml").write_text(text, encoding="utf-8")
    begin = time.process_time()
    assert message in refused(capsys, "info", str(tmp_path / "x.toml"))
    assert time.process_time() - begin < 10


def test_pipes_and_devices(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Files without an end are not read."""
    os.mkfifo(tmp_path / "x.toml")
    assert "no regular file" in refused(capsys, "info", str(tmp_path / "x.toml"))
    (tmp_path / "x.npz").symlink_to("/dev/zero")
    assert "no regular file" in refused(capsys, "train", "glyphs", "--data", str(tmp_path / "x.npz"))


def test_the_data_count(capsys: pytest.CaptureFixture[str], recipe: str) -> None:
    """--memory-limit is for the step and the data set; without one, the limit is the machine's memory."""
    write_set(Path("data"), train=3000, test=3000, side=28)
    said = refused(capsys, "train", "glyphs", "--data", "data", "--memory-limit", "1MB", "--threads", "1")
    assert re.search("takes 2,352,000 bytes of memory, more than the [0-9,]+ there are", said)
    data = small_data()
    np.savez(
        "big.npz", x=np.zeros((4000, 36), np.float32) + data.train.inputs[0].reshape(-1), y=np.zeros(4000, np.int64)
    )
    said = refused(capsys, "train", recipe, "--data", "big.npz", "--memory-limit", "600KB", "--threads", "1")
    assert re.search(r"and the data [0-9,]+, more than 614,400|takes [0-9,]+ bytes", said)


def test_edited_metrics(capsys: pytest.CaptureFixture[str], recipe: str) -> None:
    """Lines that are no records, and records without their counts."""
    assert main(["train", recipe, "--epochs", "1", "--out", "run"]) == 0
    capsys.readouterr()
    for text, message in (
        ("[]\n", "no record of a run"), ("{\n", "no JSON"), ('{"event": "epoch"}\n', "in place of its tensors"),
        ('{"event": "epoch", "tensors": [{"name": 3}]}\n', "in place of a tensor's counts"), ("\xff\n", "line 1"),
        ('{"event": "epoch", "epoch": "x"}\n', "'epoch' is 'x', no number"),
        ('{"event": "epoch", "epoch": 1.5}\n', "no integer"), ('{"event": "epoch", "lr": NaN}\n', "'lr' is nan, no"),
    ):  # fmt: skip
        Path("run/metrics.jsonl").write_text(text, encoding="utf-8")
        for command in (["info", "run"], ["report", "run"], ["report", "run", "--csv", "x"], ["compare", "run", "run"]):
            assert message in refused(capsys, *command)


def test_edited_results(capsys: pytest.CaptureFixture[str], recipe: str) -> None:
    """A `result.json` that is no result, or has no numbers."""
    assert main(["train", recipe, "--epochs", "1", "--out", "run"]) == 0
    capsys.readouterr()
    for text, message in (
        ("3", "is 3, no result"), ("{", "no JSON"), (DEEP, "no JSON"), ("\x00", "no JSON"),
        ('{"seconds": "x"}', "`seconds` is 'x', no number"),
    ):  # fmt: skip
        Path("run/result.json").write_text(text, encoding="utf-8")
        for command in (["info", "run"], ["compare", "run", "run"]):
            assert message in refused(capsys, *command)


def test_places_that_are_none(capsys: pytest.CaptureFixture[str], recipe: str) -> None:
    """Directories for files, and files for directories."""
    assert main(["train", recipe, "--epochs", "1", "--out", "run"]) == 0
    capsys.readouterr()
    assert "/ cannot be written (" in refused(capsys, "report", "run", "--csv", "/")
    for command in (["train", recipe, "--out"], ["export", "run", "--out"], ["new", "--data", "small.npz"]):
        assert "small.npz" in refused(capsys, *command, "small.npz")


def test_signed_checkpoints(capsys: pytest.CaptureFixture[str], recipe: str) -> None:
    """A right checksum proves nothing: values of other types, and weights beyond their bits, are refused."""
    assert main(["train", recipe, "--epochs", "1", "--bits", "6", "--out", "run"]) == 0
    capsys.readouterr()
    path = Path("run/checkpoint.fxp")
    values, arrays = read_checkpoint(path)
    for changed, message in (
        ({"progress": {"step": "x"}}, "`progress.step` (='x')"), ({"progress": 3}, "The position"),
        ({"model": []}, "`model` is []"), ({"model": values["model"] | {"step": -1}}, "`model.step` (=-1)"),
        ({"data": values["data"] | {"classes": "abc"}}, "are no names"),
        ({"data": values["data"] | {"input_shape": [1, 2, 3]}}, "inputs of shape (1, 2, 3)"),
    ):  # fmt: skip
        write_checkpoint(path, values | changed, arrays)
        assert message in refused(capsys, "evaluate", "run")
    write_checkpoint(path, values, arrays | {"0.weights": arrays["0.weights"] * 0 + 100})
    assert "has values of more than its 6 bits" in refused(capsys, "evaluate", "run")
    write_checkpoint(path, values | {"progress": values["progress"] | {"batch": 10_000}}, arrays)
    assert "where this run cannot be" in refused(capsys, "train", "--resume", "--out", "run")


def test_links_as_checkpoints(capsys: pytest.CaptureFixture[str], recipe: str) -> None:
    """A link that leads nowhere or to itself is no missing checkpoint: nothing starts over in silence."""
    assert main(["train", recipe, "--epochs", "1", "--out", "run"]) == 0
    capsys.readouterr()
    for target in ("checkpoint.fxp", "nowhere"):
        Path("run/checkpoint.fxp").unlink()
        Path("run/checkpoint.fxp").symlink_to(target)
        assert "cannot be read" in refused(capsys, "train", "--resume", "--out", "run")
        assert "cannot be read" in refused(capsys, "evaluate", "run")


def test_stores(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Damaged, of another program, locked, of another version, a directory."""
    path = tmp_path / FILE
    path.write_bytes(b"nonsense" * 100)
    assert "file is not a database" in refused(capsys, "experiment", "status", str(tmp_path))
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE mine (x)")
    database.close()
    assert "belongs to another program: it holds 'mine'" in refused(capsys, "experiment", "status", str(tmp_path))
    path.unlink()
    path.mkdir()
    assert "no regular file" in refused(capsys, "experiment", "status", str(tmp_path))
    path.rmdir()
    Store(tmp_path).__exit__()
    with sqlite3.connect(path) as database:
        database.execute(
            "CREATE VIEW loop AS WITH RECURSIVE x(n) AS (SELECT 1 UNION ALL SELECT n FROM x) SELECT n FROM x"
        )
    database.close()
    assert "belongs to another program" in refused(capsys, "experiment", "status", str(tmp_path))


def test_a_locked_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Who holds a store for longer than one waits is told of, and nothing is rolled back that was not begun."""
    Store(tmp_path).__exit__()
    monkeypatch.setattr("fxptrain.experiments.store.WAIT_SECONDS", 0.1)
    holder = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    assert "database is locked" in refused(capsys, "experiment", "status", str(tmp_path))
    holder.close()


def run_program(*arguments: str, environment: dict[str, str] | None = None, **streams: object) -> tuple[int, str]:
    """Exit code and stderr of the program."""
    command = [sys.executable, "-m", "fxptrain", *arguments]
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": root} | (environment or {}), stderr=subprocess.PIPE, text=True,
        check=False, **streams,  # type: ignore[call-overload]
    )  # fmt: skip
    return done.returncode, done.stderr


def test_full_output() -> None:
    """A full stdout is the machine's fault, told once."""
    with Path("/dev/full").open("w") as full:
        assert run_program("--help", stdout=full) == (
            1,
            "fxptrain: Reading or writing failed: No space left on device.\n",
        )


def test_without_a_compiler() -> None:
    """NUMBA_DISABLE_JIT is refused."""
    code, said = run_program("info", "glyphs", environment={"NUMBA_DISABLE_JIT": "1"})
    reason = "`NUMBA_DISABLE_JIT` (=1) switches Numba's compiler off; fxptrain's kernels run only compiled."
    assert (code, said) == (2, f"fxptrain: {reason} Unset it.\n")


def test_from_a_zip_file(tmp_path: Path) -> None:
    """A package that was not extracted is refused."""
    import zipfile

    package = Path(__file__).parents[2] / "fxptrain"
    with zipfile.ZipFile(tmp_path / "fxptrain.whl", "w") as archive:
        for path in package.rglob("*.py"):
            archive.write(path, path.relative_to(package.parent))
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'fxptrain.whl')!r})\n"
        "from fxptrain.cli.main import main; sys.exit(main(['info', 'glyphs']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert (
        done.stderr == "fxptrain: fxptrain cannot run from a zip file or an unextracted wheel; install it with pip.\n"
    )


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_read_only(capsys: pytest.CaptureFixture[str], recipe: str) -> None:
    """A directory that may not be written."""
    Path("locked").mkdir(mode=0o500)
    assert "cannot be written" in refused(capsys, "train", recipe, "--out", "locked/run")


def test_all_mistakes_of_a_recipe_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten mistakes stand in one line, each with its key: none is cut out of the middle."""
    keys = [f"wrong_key_number_{i}" for i in range(10)]
    text = "".join(f"{key} = 1\n" for key in keys)
    (tmp_path / "bad.toml").write_text(f"[training]\n{text}[model]\nname = 'm'\ninput_shape = [1, 1, 1]\nlayers = []\n")
    assert main(["train", str(tmp_path / "bad.toml"), "--out", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert len(line) > 400
    assert [key for key in keys if f"`training.{key}` is no key" not in line] == []
