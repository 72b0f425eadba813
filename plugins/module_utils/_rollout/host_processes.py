# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A container's processes as this host has them.

Their numbers come from the engine. Where that runs on another host, or this process in a container, other processes
have them here, so each is looked up first: its control groups carry the container's id.
"""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

# From sched.h.
_NETWORK = 0x40000000


def belongs(pid: int, container_id: str) -> bool:
    """Say whether a process is the container's; False also where that cannot be told."""
    try:
        return container_id in Path(f"/proc/{pid}/cgroup").read_text("utf-8")
    except OSError:
        return False


def kill(pid: int, container_id: str) -> None:
    """Kill a process of a container. One that is gone, or not this user's to kill, is left."""
    if not belongs(pid, container_id):
        return
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        return


def network(pid: int, container_id: str) -> int | None:
    """Give an open handle of the network namespace of a container's process, None where this user may not have it."""
    try:
        handle = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    # Looked up after it was opened: a number that went to another process in between is not taken for the container's.
    if belongs(pid, container_id):
        return handle
    os.close(handle)
    return None


def enter_network(handle: int) -> bool:
    """Move the calling thread, and no other, into a network namespace for good; False where it may not.

    setns(2) by hand, because os.setns came with Python 3.12.
    """
    return bool(ctypes.CDLL(None).setns(handle, _NETWORK) == 0)
