# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make deploy` brings to a Debian machine that has nothing, or half of it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import docker
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def bare() -> Iterator[Callable[[str], str]]:
    """Run shell commands in a bare Debian; the scripts and the locks lie in /checkout."""
    client = docker.from_env()
    name = "agentfleet/debian:trixie" if client.images.list("agentfleet/debian:trixie") else "debian:trixie-slim"
    container = client.containers.run(name, ["sleep", "600"], detach=True, init=True)
    try:
        for part in ("files", "requirements"):
            container.exec_run(["mkdir", "-p", "/checkout"])
            subprocess.run(["docker", "cp", "--quiet", str(ROOT / part), f"{container.id}:/checkout/"], check=True)

        def run(command: str) -> str:
            return container.exec_run(["sh", "-c", command], workdir="/checkout").output.decode()

        yield run
    finally:
        container.remove(force=True, v=True)
        client.close()


def test_an_interrupted_installation_of_the_engine_is_finished(bare: Callable[[str], str]) -> None:
    status = "dpkg-query --show --showformat '${db:Status-Status} ' docker.io iptables 2>/dev/null"
    bare("apt-get -qq update && cd /tmp && apt-get -qq download docker.io docker-cli && dpkg --unpack ./*.deb")
    assert bare(status).split() == ["unpacked", "not-installed"]
    # The daemon itself does not run in a container without privileges.
    assert "finishing an installation" in bare("files/local/engine start")
    assert bare(status).split() == ["installed", "installed"]


def test_python_is_installed_where_there_is_none(bare: Callable[[str], str]) -> None:
    # No index answers, so the set-up ends where the packages would come.
    output = bare("PIP_INDEX_URL=http://127.0.0.1:9/ PIP_RETRIES=0 files/local/venv deploy")
    assert "installing python3-venv by apt-get" in output
    assert "Virtual environment: .venv, with Python 3." in output
