"""How much memory a process has held at most."""

import resource
from pathlib import Path


def peak() -> int:
    """Bytes held by this process at its peak; on Linux `ru_maxrss` would begin with what its parent held."""
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * int(status.read_text().split("VmHWM:")[1].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS gives bytes
