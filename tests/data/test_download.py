import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from fxptrain.data.download import download
from fxptrain.errors import DataError

CONTENT = bytes(i * i % 251 for i in range(200_000))
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Sends CONTENT as the path asks: /good, /partial, /cut, /longer, /changed, /stall."""

    release: ClassVar[threading.Event]

    def do_GET(self) -> None:
        """Answer."""
        kind = self.path.rsplit("/", 1)[-1]
        if kind == "missing":
            self.send_error(404)
            return
        bodies = {"longer": CONTENT + b"x", "changed": b"x" + CONTENT[1:], "partial": CONTENT[:150_000]}
        body = bodies.get(kind, CONTENT)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if kind == "cut":
            body = body[:100_000]  # fewer bytes than the header says, then the connection ends
        if kind == "stall":
            self.wfile.write(body[:100_000])
            self.wfile.flush()
            self.release.wait(10)
            return
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


class Server(ThreadingHTTPServer):
    """Waits for its threads at the end, so that no socket outlives a test."""

    daemon_threads = False


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a server on this machine."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    Handler.release = threading.Event()
    with Server(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}/"
        Handler.release.set()
        http.shutdown()
        thread.join()


def test_good(server: str, tmp_path: Path) -> None:
    """The file arrives under its name, alone; progress counts up to its size."""
    seen: list[tuple[str, int, int]] = []
    target = tmp_path / "new" / "directory" / "file.gz"
    download(server + "good", target, len(CONTENT), SHA256, lambda *step: seen.append(step))
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]
    assert seen[-1] == ("file.gz", len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("partial", "ended after 150000 of 200000 bytes"),
        ("cut", "ended after 100000 of 200000 bytes|Cannot fetch"),
        ("longer", "is longer than 200000 bytes"),
        ("changed", f"has the SHA-256 [0-9a-f]{{64}}, expected is {SHA256}"),
        ("missing", "Cannot fetch .*Not Found"),
    ],
)
def test_bad(server: str, tmp_path: Path, kind: str, message: str) -> None:
    """What is not the file leaves nothing behind, also not in place of an older file."""
    target = tmp_path / "file.gz"
    for before in ([], [target]):
        with pytest.raises(DataError, match=message) as caught:
            download(server + kind, target, len(CONTENT), SHA256)
        assert "\n" not in str(caught.value)
        assert list(tmp_path.iterdir()) == before
        target.write_bytes(b"older")


def test_no_name_before_the_file_is_whole(server: str, tmp_path: Path) -> None:
    """While bytes arrive there is a temporary file only; an interrupted download removes it."""
    target = tmp_path / "file.gz"

    def interrupt(name: str, done: int, size: int) -> None:
        assert not target.exists()
        assert [file.name.endswith(".part") for file in tmp_path.iterdir()] == [True]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(server + "good", target, len(CONTENT), SHA256, interrupt)
    assert list(tmp_path.iterdir()) == []


def test_stalled_server(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that stops sending is given up."""
    monkeypatch.setattr("fxptrain.data.download.TIMEOUT", 0.2)
    with pytest.raises(DataError, match=r"Cannot fetch .*timed out"):
        download(server + "stall", tmp_path / "file.gz", len(CONTENT), SHA256)
    assert list(tmp_path.iterdir()) == []


def test_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(DataError, match=r"Cannot fetch http://127.0.0.1:1/x \(.*refused"):
        download("http://127.0.0.1:1/x", tmp_path / "x", 1, SHA256)


def test_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """A file stands where the directory should be."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="file: cannot be written"):
        download("http://127.0.0.1:1/x", tmp_path / "file" / "x", 1, SHA256)
