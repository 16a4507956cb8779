"""SIGTERM and SIGINT, however often: one line with the command that goes on, and the bits of an undisturbed run."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from fxptrain.run import stopping
from fxptrain.run.stopping import Stopped
from tests.test_crash import command, run  # noqa: F401  (a fixture)


@pytest.fixture(scope="module")
def whole(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> str:  # noqa: F811
    """The weights of a run that nobody disturbs."""
    return run([*command, "--epochs", "2"], tmp_path_factory.mktemp("whole") / "run")["weights_sha256"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("times", [1, 5])
def test_training(
    number: signal.Signals, times: int, command: list[str], whole: str, tmp_path: Path,  # noqa: F811
) -> None:  # fmt: skip
    """It ends after the step in hand, all of it saved, and goes on to the same weights."""
    out = tmp_path / "a run"
    heed = [sys.executable, "-c", "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "from fxptrain.cli.main import main; sys.exit(main(sys.argv[1:]))"]  # fmt: skip
    with subprocess.Popen(
        [*heed, *command[3:], "--epochs", "2", "--out", str(out)], stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    ) as process:  # fmt: skip
        while process.poll() is None and not (out / "checkpoint.fxp").exists():
            time.sleep(0.002)
        for _ in range(times):
            process.send_signal(number)
            time.sleep(0.01)
        _, said = process.communicate(timeout=60)
    told = [line for line in said.splitlines() if line.startswith("fxptrain: ") and " note: " not in line]
    assert told == [f"fxptrain: stopped; go on with: fxptrain train --resume --out '{out}'"]
    assert process.returncode == 128 + number
    assert run([*command[:4], *command[5:]], out)["weights_sha256"] == whole


@pytest.fixture
def nothing_heard() -> Iterator[None]:
    """A process that has heard nothing, before and afterwards."""
    before = {number: signal.getsignal(number) for number in stopping.SIGNALS}
    stopping._heard.number = None
    yield
    stopping._heard.number = None
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("nothing_heard")
@pytest.mark.parametrize("deferred", [False, True])
def test_listening(deferred: bool) -> None:
    """A signal becomes an exception; deferred, it waits for the end of the block."""
    reached = []

    def asked() -> None:
        with stopping.listening(), stopping.deferred() if deferred else nullcontext():
            os.kill(os.getpid(), signal.SIGTERM)
            reached.append(stopping.requested())

    with pytest.raises(Stopped) as caught:
        asked()
    assert (caught.value.exit_code, reached) == (143, [signal.SIGTERM] * deferred)
