# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nginx image is used as the official one, without root."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import Box

# What the stack's front door needs: upstream servers that are resolved again need 1.27.3 in the open source edition.
FRONT = """
resolver 127.0.0.11 valid=5s ipv6=off;
upstream letta {
    zone letta 64k;
    server letta_server:8283 resolve max_fails=2 fail_timeout=5s;
}
keepalive_min_timeout 5s;
server {
    listen 8080;
    location = /status { stub_status; }
    location = /name { return 200 "own"; }
    location / { proxy_pass http://letta; proxy_buffering off; proxy_http_version 1.1; }
}
"""


def fetch(start: Callable[..., Box], image: str, server: Box, path: str) -> str:
    """Fetch from another container, with the curl of the server's image."""
    url = f"http://{server.container.name}{path}"
    client = start(image, ["curl", "-sS", "--retry", "10", "--retry-connrefused", "--retry-delay", "1", url])
    client.wait_exit()
    return client.logs().strip()


def test_serves_without_root(start: Callable[..., Box], images: dict[str, str]) -> None:
    box = start(images["nginx"], tmpfs={"/tmp": ""})
    assert "Welcome to nginx" in fetch(start, images["server"], box, "/")
    assert '"GET / HTTP/1.1" 200' in box.container.logs(stderr=False).decode()


def test_takes_a_mounted_configuration(start: Callable[..., Box], images: dict[str, str], tmp_path: Path) -> None:
    conf = tmp_path / "conf.d"
    conf.mkdir()
    (conf / "front.conf").write_text(FRONT)
    for parent in [tmp_path, *list(tmp_path.parents)[:2]]:
        parent.chmod(0o755)
    volumes = {str(conf): {"bind": "/etc/nginx/conf.d", "mode": "ro"}}
    box = start(images["nginx"], tmpfs={"/tmp": ""}, volumes=volumes)
    assert fetch(start, images["server"], box, ":8080/name") == "own"
    box.output_of("nginx", "-t")
    box.output_of("nginx", "-s", "reload")
    assert fetch(start, images["server"], box, ":8080/name") == "own"


def test_stops_gracefully(start: Callable[..., Box], images: dict[str, str]) -> None:
    box = start(images["nginx"], tmpfs={"/tmp": ""})
    fetch(start, images["server"], box, "/")
    box.container.stop(timeout=20)
    assert box.wait_exit() == 0
    assert "gracefully shutting down" in box.logs()
