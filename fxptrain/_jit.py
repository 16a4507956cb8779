"""The only place that touches Numba's decorators: how kernels are compiled and where compiled code is kept.

What does not belong here: arithmetic. A kernel module imports `kernel` and writes plain loops.

Numba's own cache does not notice an edited callee in another file, so the cache directory is named after a hash of all
kernel sources, the versions of Numba and llvmlite, the target CPU and whether indices are checked: a stale kernel can
never run. Nor can a wrong one: what is found is asked what arguments it is for, and processes take turns to save what
they made of a function, as Numba may put what two of them save at the same time into one file. They compile side by
side, but nothing twice: who needs what another is just compiling waits for it.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import IO, Any, ClassVar, TypeVar

import llvmlite
import numba
from llvmlite import binding
from numba import config as numba_config
from numba import types
from numba.core import codegen
from numba.core.caching import FunctionCache
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import CPUDispatcher, cpu_target
from numba.core.sigutils import normalize_signature
from numba.extending import intrinsic, overload
from platformdirs import user_cache_path

from fxptrain.errors import FxptrainError

try:
    from fcntl import LOCK_EX, LOCK_UN, lockf
except ImportError:  # not POSIX: processes that start with an empty cache at once are on their own
    lockf = None  # type: ignore[assignment]

F = TypeVar("F", bound=Callable[..., Any])

LEVEL = 2
_KERNEL_SOURCES = ("_jit.py", "fixed/**/*.py", "kernels/**/*.py", "data/glyphs.py")

_BYTE_DOT = """
declare i32 @llvm.vector.reduce.add.v16i32(<16 x i32>)
define i32 @dot(<16 x i8> %a, <16 x i8> %b) {{
  %x = {extension} <16 x i8> %a to <16 x i32>
  %y = sext <16 x i8> %b to <16 x i32>
  %xy = mul <16 x i32> %x, %y
  %sum = call i32 @llvm.vector.reduce.add.v16i32(<16 x i32> %xy)
  ret i32 %sum
}}
"""
_ARM_DOTS = {"dotprod": ("sdot", "sext"), "i8mm": ("usdot", "zext")}  # the second comes with ``smmla``


def _arm_features(triple: str, cpu: str, features: str) -> set[str]:
    """What LLVM does not list of a 64-bit ARM: NEON, which all have, and which products of bytes it would use there."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    machine = binding.Target.from_triple(triple).create_target_machine(cpu=cpu, features=features, opt=1)

    def uses(instruction: str, extension: str) -> bool:
        text = f'target triple = "{triple}"\n{_BYTE_DOT.format(extension=extension)}'
        return f"\t{instruction}\t" in machine.emit_assembly(binding.parse_assembly(text))

    return {"neon", *(feature for feature, dot in _ARM_DOTS.items() if uses(*dot))}


def target_cpu() -> str:
    """Name of the processor kernels are compiled for: this one, or ``NUMBA_CPU_NAME``."""
    return str(numba_config.CPU_NAME or binding.get_host_cpu_name())


@cache
def target_features() -> frozenset[str]:
    """Instruction-set features kernels are compiled for, as LLVM names them (``avx2``, ``avx512bw``, ``neon`` ...).

    Follows Numba: the host's, or ``NUMBA_CPU_FEATURES`` (nothing where ``NUMBA_CPU_NAME`` is ``generic``), so every
    code path can be forced from outside.
    """
    text = numba_config.CPU_FEATURES
    if text is None:
        text = codegen.get_host_cpu_features()
    names = {name[1:] for name in text.split(",") if name.startswith("+")}
    triple = binding.get_process_triple()
    if triple.startswith(("aarch64", "arm64")):
        names |= _arm_features(triple, target_cpu(), text)
    return frozenset(names)


def _source_files() -> list[Path]:
    root = Path(__file__).parent
    return [file for pattern in _KERNEL_SOURCES for file in sorted(root.glob(pattern))]


def _cache_key() -> str:
    digest = hashlib.sha256()
    for file in _source_files():
        digest.update(file.read_bytes())
    checked = f"bounds checked: {numba_config.BOUNDSCHECK}"
    target = (numba.__version__, llvmlite.__version__, target_cpu(), *sorted(target_features()), checked)
    digest.update("\n".join(target).encode())
    return digest.hexdigest()[:20]


@cache
def cache_directory() -> Path:
    """Directory of the compiled kernels: in the user's cache; where that is read-only, one of this process alone."""
    path = user_cache_path("fxptrain") / "kernels" / _cache_key()
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError:
        path = Path(tempfile.mkdtemp(prefix="fxptrain-kernels-"))
        atexit.register(shutil.rmtree, path, ignore_errors=True)
        return path


def _refuse_what_cannot_compile() -> None:
    """Raise where Numba does not compile, or finds no files to keep a cache of."""
    if numba_config.DISABLE_JIT:
        raise FxptrainError(
            "`NUMBA_DISABLE_JIT` (=1) switches Numba's compiler off; fxptrain's kernels run only compiled. Unset it."
        )
    if not Path(__file__).is_file():
        raise FxptrainError("fxptrain cannot run from a zip file or an unextracted wheel; install it with pip.")


class _Turns:
    """The right to do what has a name, of one process at a time; who has it may ask again.

    A name's lock is a byte of one file, far behind its end. Where the file cannot be opened, and where two processes
    would wait for each other, there is none. Threads have Numba's own lock before.
    """

    def __init__(self) -> None:
        self._held: set[int] = set()
        self._file: IO[bytes] | None = None

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Wait for the turn, and give it back at the end."""
        byte = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "little")
        if byte in self._held or lockf is None:
            yield
            return
        with suppress(OSError):
            if self._file is None:
                self._file = (cache_directory() / "lock").open("ab")
            lockf(self._file, LOCK_EX, 1, byte)
        self._held.add(byte)
        try:
            yield
        finally:
            self._held.remove(byte)
            with suppress(OSError):
                if self._file is not None:
                    lockf(self._file, LOCK_UN, 1, byte)


_turns = _Turns()
_refuse_what_cannot_compile()


def kernel(function: F) -> F:
    """Compile `function` on first call, without the GIL and without Python objects; keep the result on disk."""
    return _compiled(function, no_cpython_wrapper=False)


def native(function: F) -> F:
    """`kernel` for functions that are called from kernels and as a `Call`, never directly from Python.

    It leaves out what unpacks Python's arguments: a sixth of the time that compiling takes.
    """
    made = _compiled(function, no_cpython_wrapper=True)
    made.__class__ = _Native
    return made


def apart(function: F) -> F:
    """`native` for what is large and called seldom: kernels call it where it lies, and hold no copy of its code.

    LLVM compiles a `native` function anew with every kernel that calls it. It must be an attribute of its module by its
    own name, by which kernels on disk find it.
    """
    made = native(function)
    made.__class__ = _Apart
    return made


def by_type(function: F) -> Callable[[F], F]:
    """Decorates what, asked with the types of a call's arguments, returns the code of a function for them."""
    options = {"nogil": True, "error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return overload(function, jit_options=options)  # type: ignore[no-any-return]


class _Cache(FunctionCache):  # type: ignore[misc]
    """What is kept of a kernel on disk; a full disk loses it, and what is damaged or another's is compiled again.

    So is what calls a function that lies `apart` and was compiled anew: it would not find that.
    """

    def load_overload(self, signature: object, context: object) -> Any:
        """The compiled code for a signature; None where there is none.

        Numba names a file in its index before it writes it: after a crash between the two, an old file may lie there.
        """
        try:
            found = super().load_overload(signature, context)
        except _RenamedError:
            return None
        except Exception:  # a damaged file can raise anything
            with suppress(OSError), _turns.of(self._cache_file._index_path):
                self.flush()
            return None
        known = found is not None and tuple(found.signature.args) == tuple(normalize_signature(signature)[0])
        return found if known else None

    def save_overload(self, signature: object, data: Any) -> None:
        """Keep compiled code, if that can be, and what has to be there before it is loaded."""
        names = {function.name for function in data.library._final_module.functions if function.is_declaration}
        data.reload_init.extend(partial(_find, *_Apart.made[name], name) for name in sorted(names & set(_Apart.made)))
        with suppress(OSError), _turns.of(self._cache_file._index_path):
            super().save_overload(signature, data)


class _Kernel(CPUDispatcher):  # type: ignore[misc]
    """A function that is compiled at LLVM's level 2: a sixth less time than level 3 takes, and the code is as fast."""

    def compile(self, signature: object) -> object:
        """Compile for a signature."""
        cpu_target.target_context.codegen()  # made at Numba's own level, which other packages' code is compiled at
        arguments = tuple(normalize_signature(signature)[0])
        if arguments in self.overloads:  # asked for again by every caller
            return super().compile(signature)
        with global_compiler_lock, _turns.of(f"{self.__module__}.{self.__qualname__}{arguments}"):
            before = numba_config.OPT
            numba_config.OPT = type(before)(min(before, LEVEL))
            try:
                return super().compile(signature)
            finally:
                numba_config.OPT = before

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """What a kernel that calls this one is told: numbers that it writes out make no code of their own."""
        args = tuple(map(types.unliteral, args))
        return super().get_call_template(args, {name: types.unliteral(kind) for name, kind in kws.items()})


class _Native(_Kernel):
    """A compiled function that Python cannot call: there is nothing that would unpack its arguments."""

    def __call__(self, *args: object, **kwargs: object) -> None:
        """Refuse."""
        raise TypeError(f"`{self.py_func.__name__}` can only be called from kernels and as a `Call`.")


class _RenamedError(Exception):
    """What a kernel on disk calls by a name for LLVM has another one by now."""


class _Apart(_Native):
    """A compiled function that becomes no part of those that call it."""

    made: ClassVar[dict[str, tuple[str, str, Any]]] = {}  # by its name for LLVM: module, function, types of arguments

    def compile(self, signature: object) -> object:
        """Compile for a signature."""
        with global_compiler_lock:
            entry = super().compile(signature)
            arguments = tuple(normalize_signature(signature)[0])
            described = self.overloads[arguments].fndesc
            if described.mangled_name not in self.made:
                self.made[described.mangled_name] = self.__module__, self.__name__, arguments
                self.targetctx.remove_user_function(entry)
                self.targetctx.insert_user_function(entry, described)  # without the library, which callers would copy
            return entry


def _find(module: str, function: str, arguments: Any, name: str) -> None:
    """Have compiled what code calls that is about to be loaded, by this name for LLVM."""
    found = getattr(import_module(module), function)
    found.compile(arguments)
    if found.overloads[arguments].fndesc.mangled_name != name:
        raise _RenamedError(name)


def _compiled(function: F, **options: bool) -> F:
    before = numba_config.CACHE_DIR
    numba_config.CACHE_DIR = os.fspath(cache_directory())  # read by Numba while it decorates, restored at once
    try:
        decorate = numba.njit(cache=True, nogil=True, error_model="numpy", no_cfunc_wrapper=True, **options)
        made = decorate(function)
    finally:
        numba_config.CACHE_DIR = before
    made.__class__ = _Kernel
    made._cache.__class__ = _Cache
    return made  # type: ignore[no-any-return]


@intrinsic
def prefer_wide_vectors(typing):
    """In a kernel: vectorize its loops, and those inlined into it, over the widest registers of the target.

    LLVM keeps to half of AVX-512 by default, out of regard for the clock of processors that are gone.
    """

    def generate(context, builder, signature, args):
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')  # `add` knows no attributes of this form
        return context.get_dummy_value()

    return types.void(), generate
