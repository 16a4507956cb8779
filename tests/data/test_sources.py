import functools
import hashlib
import os
import re
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from fxptrain.data import sources
from fxptrain.data.catalog import CATALOG, FASHION_MNIST, MNIST, NamedSet, RemoteFile
from fxptrain.data.sources import load_data
from fxptrain.errors import DataError
from tests.data.idx_files import write_set


class Server(ThreadingHTTPServer):
    """Waits for its threads at the end, so that no socket outlives a test."""

    daemon_threads = False


class Quiet(SimpleHTTPRequestHandler):
    """Serves a directory without a word."""

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No data root, an empty user cache, no proxy; returns the cache's directory of data."""
    monkeypatch.delenv("FXPTRAIN_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(sources, "user_cache_path", lambda name: tmp_path / "cache" / name)
    return tmp_path / "cache" / "fxptrain" / "data"


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A server that offers a small `mnist`, entered in the catalog; returns the directory it serves."""
    origin = tmp_path / "origin"
    write_set(origin, classes=10)
    with Server(("127.0.0.1", 0), functools.partial(Quiet, directory=os.fspath(origin))) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        files = tuple(
            RemoteFile(file.name, file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest())
            for file in sorted(origin.iterdir())
        )
        address = f"http://127.0.0.1:{http.server_port}/"
        monkeypatch.setitem(CATALOG, "mnist", NamedSet("mnist", address, files, MNIST.classes))
        yield origin
        http.shutdown()
        thread.join()


def test_glyphs() -> None:
    """The built-in set by its name."""
    assert load_data("glyphs").name == "glyphs"


def test_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is looked for under FXPTRAIN_DATA, and brings the names of its classes."""
    write_set(tmp_path / "root" / "fashion-mnist")
    monkeypatch.setenv("FXPTRAIN_DATA", os.fspath(tmp_path / "root"))
    data = load_data("fashion-mnist")
    assert data.name == "fashion-mnist"
    assert data.classes[9] == "ankle boot"
    assert len(data.train) == 12


def test_download(remote: Path, nowhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found nowhere, a set is downloaded into the cache, with progress; the second time it is there."""
    monkeypatch.setenv("FXPTRAIN_DATA", os.fspath(tmp_path))  # without mnist/
    seen: set[str] = set()
    data = load_data("mnist", progress=lambda name, done, size: seen.add(name))
    assert seen == {file.name for file in CATALOG["mnist"].files}
    assert {file.name for file in (nowhere / "mnist").iterdir()} == seen
    for file in remote.iterdir():
        file.unlink()
    assert (load_data("mnist").train.inputs == data.train.inputs).all()


def test_download_goes_on(remote: Path, nowhere: Path) -> None:
    """Files that are there already are kept; only the others are fetched."""
    images = "train-images-idx3-ubyte.gz"
    (remote / images).rename(remote / "kept")
    with pytest.raises(DataError, match=f"Cannot fetch .*{images}"):
        load_data("mnist")
    assert len(list((nowhere / "mnist").iterdir())) == 2
    (remote / "kept").rename(remote / images)
    seen: list[str] = []
    load_data("mnist", progress=lambda name, done, size: seen.append(name))
    assert set(seen) == {images, "train-labels-idx1-ubyte.gz"}


def test_changed_at_the_source(remote: Path, nowhere: Path) -> None:
    """A file with another content is not used."""
    file = remote / "t10k-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-1] + b"\xff")
    with pytest.raises(DataError, match="has the SHA-256"):
        load_data("mnist")
    assert list((nowhere / "mnist").iterdir()) == []


def test_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, with the ways out."""
    monkeypatch.setitem(CATALOG, "mnist", NamedSet("mnist", "http://127.0.0.1:1/", MNIST.files, MNIST.classes))
    with pytest.raises(DataError, match=r"Cannot fetch .* Ways out: .*set FXPTRAIN_DATA to .*`glyphs`") as caught:
        load_data("mnist")
    assert "\n" not in str(caught.value)


def test_root_that_is_no_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistyped FXPTRAIN_DATA is said, not passed over with a download."""
    monkeypatch.setenv("FXPTRAIN_DATA", "/no/such/place")
    with pytest.raises(DataError, match=r"FXPTRAIN_DATA \(=/no/such/place\) is no directory"):
        load_data("fashion-mnist")


def test_incomplete_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory of the right name without the files says what is missing."""
    (tmp_path / "mnist").mkdir()
    monkeypatch.setenv("FXPTRAIN_DATA", os.fspath(tmp_path))
    with pytest.raises(DataError, match=r"mnist: train-images-idx3-ubyte\[.gz\].* are missing"):
        load_data("mnist")


def test_directories(tmp_path: Path) -> None:
    """IDX files, tables, or neither; the directory of a known set brings its class names."""
    write_set(tmp_path / "own")
    assert load_data(tmp_path / "own").classes == ("0", "1", "2")
    write_set(tmp_path / "fashion-mnist")
    assert load_data(os.fspath(tmp_path / "fashion-mnist")).classes == FASHION_MNIST.classes
    tables = tmp_path / "tables"
    tables.mkdir()
    (tables / "fashion_train.csv").write_text("0,0.5\n1,2\n")
    with pytest.raises(DataError, match=r"tables: holds neither IDX files .* nor exactly one \*train\*\.csv"):
        load_data(tables)
    (tables / "fashion_test.csv").write_text("0,0.5\n")
    assert len(load_data(tables).train) == 2


def test_files(tmp_path: Path) -> None:
    """Archives and tables by their endings."""
    np.savez(tmp_path / "x.npz", x=np.zeros((6, 2)), y=np.zeros(6, int))
    assert len(load_data(tmp_path / "x.npz").train) == 5
    (tmp_path / "x.CSV").write_text("0,0.5\n1,2\n")
    assert len(load_data(tmp_path / "x.CSV").train) == 1
    (tmp_path / "x.txt").write_text("0,0.5\n1,2\n")
    with pytest.raises(DataError, match=r"x\.txt: is of no known kind"):
        load_data(tmp_path / "x.txt")


def test_unknown_name() -> None:
    """The nearest name is offered."""
    with pytest.raises(
        DataError,
        match=r"`data` \(='fashion_mnist'\) is neither a known name \(glyphs, fashion-mnist, "
        r"mnist\) nor a file or directory. Did you mean 'fashion-mnist'\?",
    ):
        load_data("fashion_mnist")
    with pytest.raises(DataError, match=r"nor a file or directory\.$"):
        load_data("zzz")


def test_catalog() -> None:
    """Each known set has the four files, sums of 64 hex digits and ten classes."""
    for known in CATALOG.values():
        assert [file.name for file in known.files] == [file.name for file in FASHION_MNIST.files]
        assert all(re.fullmatch("[0-9a-f]{64}", file.sha256) for file in known.files)
        assert len(known.classes) == 10
        assert known.address.endswith("/")
