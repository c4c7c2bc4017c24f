"""Who works on a job: one process at a time, told by a lock that the system itself releases when the process dies.

Source: POSIX record locks (``lockf``; not inherited by a fork), ``msvcrt.locking`` elsewhere.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

_held: dict[str, tuple[int, int]] = {}  # path → (file descriptor, process)
_lock = threading.Lock()


def _take(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            locking: Any = msvcrt
            locking.locking(descriptor, locking.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def take(path: Path) -> bool:
    """Take the lease; False where this or another process holds it."""
    with _lock:
        key = str(path)
        if key in _held and _held[key][1] == os.getpid():
            return False
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        if not _take(descriptor):
            os.close(descriptor)
            return False
        _held[key] = (descriptor, os.getpid())
        return True


def give_back(path: Path) -> None:
    """End the lease."""
    with _lock:
        descriptor, owner = _held.pop(str(path), (-1, 0))
        if owner == os.getpid():
            os.close(descriptor)


def is_taken(path: Path) -> bool:
    """Whether somebody holds the lease."""
    with _lock:
        key = str(path)
        if key in _held and _held[key][1] == os.getpid():
            return True
        if not path.exists():
            return False
        descriptor = os.open(path, os.O_RDWR)
        free = _take(descriptor)
        os.close(descriptor)  # which releases it again; a process's own locks on this file are looked for above
        return not free
