"""What was measured on: processor, cores, memory, load. Read from the system, nothing is run."""

from __future__ import annotations

import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

BUSY = 0.25  # load average above which somebody else is working


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _field(path: str, pattern: str) -> str | None:
    try:
        found = re.search(pattern, Path(path).read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return None
    return found[1].strip() if found else None


def describe() -> dict[str, Any]:
    """The machine as JSON-able values; the load is that of the last minute."""
    cpu = _field("/proc/cpuinfo", r"^(?:model name|Model)\s*:\s*(.+)$") or platform.processor() or platform.machine()
    family, model = (_field("/proc/cpuinfo", rf"^{name}\s*:\s*(\d+)$") for name in ("cpu family", "model"))
    memory = _field("/proc/meminfo", r"^MemTotal:\s*(\d+) kB")
    return {
        "cpu": cpu + (f" (family {family}, model {model})" if family else ""),
        "architecture": platform.machine(),
        "cores": cores(),
        "memory_gib": round(int(memory) / 2**20, 1) if memory else None,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "byte_order": sys.byteorder,
    }


def slug(machine: dict[str, Any]) -> str:
    """Short name of a machine for file names.

    Examples
    --------
    >>> slug({"cpu": "Intel(R) Xeon(R) Processor (family 6, model 207)", "cores": 2})
    'intel-xeon-processor-family-6-model-207-2-cores'
    """
    text = f"{machine['cpu']} {machine['cores']} cores".lower()
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"\((?:r|tm)\)", "", text)).strip("-")
