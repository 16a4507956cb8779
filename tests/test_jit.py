"""Where compiled kernels are kept: never a stale one, never an error where nothing can be written; what ARM can do."""

import os
import re
import select
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numba
import pytest
from llvmlite import binding
from numba.extending import intrinsic

from fxptrain import _jit

PACKAGE = Path(_jit.__file__).parent
UNCACHED = """
from pathlib import Path
from fxptrain._jit import cache_directory
from fxptrain.fixed.draws import draws
assert draws(7, 1, 0, 8).size == 8
assert list(cache_directory().rglob("*.nbi")), "the kernels were not kept"
print(cache_directory())
"""


TOGETHER = """
import sys
from pathlib import Path
import numpy as np
from fxptrain.kernels.call import from_python
from fxptrain.kernels.dot import group_of
print("ready", flush=True)
sys.stdin.readline()
for number in map(int, sys.argv[1:]):
    kind = (np.int8, np.int16)[number % 2]
    assert from_python(group_of)(np.zeros((2,) * (1 + number // 2), kind)) == 4 // np.dtype(kind).itemsize
print(sum(group_of.stats.cache_hits.values()))
"""


def test_processes_that_compile_at_once_keep_everything(tmp_path: Path) -> None:
    """Of one function, for other arguments in each process: all of it is found again, and is what it is called."""

    def start(*numbers: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", TOGETHER, *map(str, numbers)]
        environment = os.environ | {"XDG_CACHE_HOME": os.fspath(tmp_path)}
        return subprocess.Popen(
            command, env=environment, cwd=PACKAGE.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    numbers = range(6)
    running = [start(number) for number in numbers]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        process.stdin.write("\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
    assert [process.communicate(timeout=120)[0] for process in running] == ["0\n"] * len(numbers)
    assert start(*numbers).communicate("\n", timeout=120)[0].split() == ["ready", str(len(numbers))]


TURN = """
import sys
from fxptrain import _jit
print("ready", flush=True)
with _jit._turns.of(sys.argv[1]), _jit._turns.of(sys.argv[1]):
    print("begun", flush=True)
    sys.stdin.readline()
"""


def test_only_what_is_the_same_waits(tmp_path: Path) -> None:
    """Who wants to do what another process does waits until that has ended, however it ends; others do not."""
    with ExitStack() as stack:

        def start(name: str) -> subprocess.Popen[bytes]:
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", TURN, name], env=os.environ | {"XDG_CACHE_HOME": os.fspath(tmp_path)},
                    cwd=PACKAGE.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
                )
            )  # fmt: skip
            stack.callback(process.kill)  # before it is waited for: where the test fails, they wait for each other
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"  # unbuffered: what comes behind it stays to be seen
            return process

        def begins(process: subprocess.Popen[bytes], seconds: float) -> bool:
            return bool(select.select([process.stdout], [], [], seconds)[0])

        first = start("one")
        assert begins(first, 60)
        other, same = start("another"), start("one")
        assert begins(other, 60)
        assert not begins(same, 0.2)
        first.kill()
        assert begins(same, 60)
        for process in (other, same):
            assert process.communicate(b"\n", timeout=60)[0] == b"begun\n"


def test_every_kernel_is_a_source_of_the_key() -> None:
    """No file with a kernel lies outside what the cache key is made of."""
    sources = set(_jit._source_files())
    compiled = re.compile(r"^ *@(_jit\.)?(kernel|native|intrinsic)\b", re.M)
    users = {file for file in PACKAGE.rglob("*.py") if compiled.search(file.read_text())}
    assert users
    assert users <= sources


def test_nested_folders_are_sources_of_the_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A kernel in a folder below `kernels/` or `fixed/` is taken in."""
    for name in ("kernels/deep/er.py", "fixed/deep.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    monkeypatch.setattr(_jit, "__file__", str(tmp_path / "_jit.py"))
    names = {file.relative_to(tmp_path).as_posix() for file in _jit._source_files()}
    assert names == {"kernels/deep/er.py", "fixed/deep.py"}


def test_key_follows_sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An edited kernel, in whatever file, and a new file give another directory."""
    copies = [tmp_path / f"{number}.py" for number in range(len(_jit._source_files()))]
    for copy, source in zip(copies, _jit._source_files(), strict=True):
        copy.write_bytes(source.read_bytes())
    known = {_jit._cache_key()}
    monkeypatch.setattr(_jit, "_source_files", lambda: copies)
    assert _jit._cache_key() in known
    for copy in copies:
        copy.write_bytes(copy.read_bytes() + b"\n")
        assert _jit._cache_key() not in known
        known.add(_jit._cache_key())


@pytest.mark.parametrize(
    ("holder", "name", "value"),
    [
        (numba, "__version__", "0.0.1"), (_jit.llvmlite, "__version__", "0.0.1"),
        (_jit.numba_config, "CPU_NAME", "another"), (_jit, "target_features", lambda: frozenset(["another"])),
        (_jit.numba_config, "BOUNDSCHECK", 1),
    ],
)  # fmt: skip
def test_key_follows_the_machine(monkeypatch: pytest.MonkeyPatch, holder: object, name: str, value: object) -> None:
    """Another compiler, processor or set of features gives another directory."""
    before = _jit._cache_key()
    monkeypatch.setattr(holder, name, value)
    assert _jit._cache_key() != before


def test_nothing_can_be_written_at_home(tmp_path: Path) -> None:
    """Kernels compile and are kept in a temporary directory, which is gone at the end."""
    file = tmp_path / "file"
    file.touch()
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    homes = {name: str(file / name) for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA", "USERPROFILE")}
    done = subprocess.run(
        [sys.executable, "-c", UNCACHED],
        env=os.environ | homes | {"TMPDIR": str(temporary)}, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).parent == temporary
    assert list(temporary.iterdir()) == []


def spoilt(content: bytes, other: bytes, how: str) -> bytes:
    """A file of the cache with something wrong."""
    return {"empty": b"", "cut": content[: len(content) // 2], "noise": bytes(range(256)) * 9, "other": other}[how]


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("how", ["empty", "cut", "noise", "other"])
def test_spoilt_files(ending: str, how: str, tmp_path: Path) -> None:
    """Whatever lies in the cache, kernels compute right, and the next process finds them again.

    `other` is code for other arguments, which a crash can leave under a name that the index gives to these.
    """

    def hits() -> str:
        command = [sys.executable, "-c", TOGETHER, "0", "3"]
        environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
        done = subprocess.run(
            command, env=environment, cwd=PACKAGE.parent, input="\n", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()[-1]

    assert (hits(), hits()) == ("0", "2")
    files = sorted(tmp_path.rglob(f"*group_of*.{ending}"))
    contents = [file.read_bytes() for file in files]
    for file, content, other in zip(files, contents, contents[::-1], strict=True):
        file.write_bytes(spoilt(content, other, how))
    assert hits() == ("2" if ending == "nbi" and how == "other" else "0")  # there is one index, and it is itself
    assert hits() == "2"


APART = """
import sys
import numpy as np
from fxptrain.kernels import bits
from fxptrain.kernels.call import from_python
if sys.argv[1:]:  # what is compiled first numbers what is compiled after it
    from_python(bits.pack_run)(np.zeros(4, np.int16), 0, 4, 8, np.zeros(4, np.uint8), 0, 0)
values, packed = np.arange(-8, 8, dtype=np.int8), np.zeros(16, np.uint8)
bits.pack(values, 2, 8, 5, packed, 0, 5)
assert bin(int.from_bytes(packed[:5].tobytes(), "little") & 31) == "0b11000"
print(sum(bits.pack.stats.cache_hits.values()), sum(bits.pack_run.stats.cache_hits.values()))
"""


def test_what_lies_apart_is_there_before_its_callers(tmp_path: Path) -> None:
    """A kernel of the cache finds what it calls; where that has been lost and is made anew, the kernel is, too."""

    def hits(*others: str) -> str:
        environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
        command = [sys.executable, "-c", APART, *others]
        done = subprocess.run(command, env=environment, cwd=PACKAGE.parent, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert (hits(), hits()) == ("0 0", "1 1")
    for file in tmp_path.rglob("*pack_run*"):
        file.unlink()
    assert (hits("others first"), hits()) == ("0 0", "1 1")


def test_a_full_disk_for_kernels(tmp_path: Path) -> None:
    """What cannot be kept is compiled all the same."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))"
    done = subprocess.run(
        [sys.executable, "-c", f"{limit}\nfrom fxptrain.fixed.draws import draws\nprint(draws(7, 1, 0, 8).size)"],
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)}, cwd=PACKAGE.parent, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("8\n", "")
    assert not list(tmp_path.rglob("*.nbc"))


@pytest.mark.parametrize(
    ("processor", "features", "dots"),
    [("cortex-a72", "-sve", set()), ("cortex-a76", "-sve", {"dotprod"}), ("apple-m1", "", {"dotprod"}),
     ("generic", "", set()), ("generic", "+dotprod", {"dotprod"}), ("cortex-a710", "", {"dotprod", "i8mm"}),
     ("cortex-a76", "+i8mm", {"dotprod", "i8mm"})],
)  # fmt: skip
def test_features_of_arm(processor: str, features: str, dots: set[str]) -> None:
    """LLVM's list of an ARM host's features lacks NEON and what multiplies bytes; its code shows what it would use."""
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    try:
        found = _jit._arm_features("aarch64-unknown-linux-gnu", processor, features)
    except RuntimeError:
        pytest.skip("this build of LLVM has no ARM")
    assert found == {"neon"} | dots


def test_kernels_alone_are_compiled_at_their_level() -> None:
    """Numba's level is another one only while a kernel is compiled."""
    seen: list[int] = []

    @intrinsic
    def level(typing):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
            seen.append(int(numba.config.OPT))
            return context.get_constant(numba.types.int64, 0)

        return numba.types.int64(), generate

    @_jit.kernel
    def ours() -> int:
        return level()  # type: ignore[no-any-return]

    @numba.njit
    def theirs() -> int:
        return level()  # type: ignore[no-any-return]

    before = numba.config.OPT
    assert ours() == theirs() == 0
    assert seen == [_jit.LEVEL, int(before)]
    assert numba.config.OPT is before


def test_without_the_compiler() -> None:
    """Numba's switch that turns the compiler off is refused in one line, not in the middle of a kernel."""
    command = [sys.executable, "-m", "fxptrain", "train", "glyphs", "--epochs", "1", "--limit", "64"]
    done = subprocess.run(command, env=os.environ | {"NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True)
    assert done.returncode == 2
    assert re.fullmatch(r"fxptrain: `NUMBA_DISABLE_JIT` \(=1\) switches .* Unset it.\n", done.stderr)
