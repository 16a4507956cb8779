"""Who holds a cell: names a process so that nobody is mistaken for it after its end, and tells whether it lives.

A process number alone is used again; together with the start of the process and of the machine it is not.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "?"


def _start(process: int) -> str | None:
    """When a process started, in the kernel's ticks; None where there is no such process any more."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            pass
        return "?"
    return None if fields[0] in "ZX" else fields[19]


def this_process() -> str:
    """Name of the running process: host, start of the machine, process number and its start."""
    return f"{socket.gethostname()} {_boot()} {os.getpid()} {_start(os.getpid())}"


def is_gone(owner: object) -> bool:
    """Whether a process has certainly ended; of other hosts nothing is known, so they count as living.

    Examples
    --------
    >>> is_gone(this_process())
    False
    """
    words = owner.split(" ") if isinstance(owner, str) else []
    if len(words) != 4 or not words[2].isdecimal():
        return True  # no process of ours has such a name
    host, boot, process, start = words
    if host != socket.gethostname():
        return False
    return boot != _boot() or _start(int(process)) != start
