# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site: nginx before two containers of the test's web application, in one of three set-ups.

dns    nginx asks Docker's DNS for the service's name and believes the answer for a second; it gives no address up, for
       by default it would leave one that failed alone for 10 seconds.
names  nginx lists the containers by name (Compose keeps them when it recreates), looks their addresses up each second,
       and goes on to the next one where one refuses or says 502 or 503; never with a POST that was sent.
proxy  nginx lists what compose_rollout writes into an upstream file (x-rollout.proxy).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .project import Project, free_port

REPLICAS = 2
BOOT = 2
# Seconds that nginx and the rollout leave to what is under way.
_DRAIN = 30
SET_UPS = ("dns", "names", "proxy")

_NGINX = """\
worker_processes 2;
pid /tmp/nginx.pid;
error_log stderr crit;
worker_shutdown_timeout {drain}s;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path /tmp/client_body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
    keepalive_timeout 75s;
    keepalive_min_timeout 30s;
    resolver 127.0.0.11 valid=1s ipv6=off;
    map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
    upstream web {{
        zone web 256k;
        {servers}
        keepalive 16;
    }}
    server {{
        listen 8080;
        location / {{
            proxy_pass http://web;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_buffering off;
            proxy_connect_timeout 1s;
            proxy_next_upstream {next_upstream};
        }}
    }}
}}
"""


class Site:
    """A site in one set-up; `version` is what its file says."""

    def __init__(self, project: Project, set_up: str, images: dict[str, str]) -> None:
        self.project = project
        self.set_up = set_up
        self.images = images
        self.version = 0
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._write_nginx()
        self.next_version()

    def next_version(self) -> None:
        """Write a Compose file with the next version of the application."""
        self.version += 1
        self.write(str(self.version))

    def write(self, version: str, **environment: str) -> None:
        """Write the Compose file with a version of the application, and more of its environment."""
        web: dict[str, Any] = {
            **application(self.images["web"], VERSION=version, **environment),
            "deploy": {"replicas": REPLICAS, "update_config": {"parallelism": 0}},
        }
        if self.set_up == "proxy":
            web["x-rollout"] = {
                "proxy": {"service": "nginx", "upstream": "web", "port": 8000},
                "drain_timeout": f"{_DRAIN}s",
            }
        nginx = {
            "image": self.images["nginx"],
            "pull_policy": "never",
            "ports": [f"127.0.0.1:{self.port}:8080"],
            "volumes": ["./nginx.conf:/etc/nginx/nginx.conf:ro", "./upstreams:/etc/nginx/upstreams:ro"],
            "tmpfs": ["/tmp"],
            "depends_on": {"web": {"condition": "service_healthy"}},
        }
        self.project.write({"web": web, "nginx": nginx})

    def _write_nginx(self) -> None:
        directory = self.project.directory
        upstreams = directory / "upstreams"
        upstreams.mkdir()
        servers = {
            "dns": "server web:8000 resolve max_fails=0;",
            "names": " ".join(
                f"server {self.project.name}-web-{number}:8000 resolve max_fails=1 fail_timeout=1s;"
                for number in range(1, REPLICAS + 1)
            ),
            "proxy": "include /etc/nginx/upstreams/web.conf;",
        }[self.set_up]
        if self.set_up == "proxy":
            # Until the first rollout has written it.
            _write(upstreams / "web.conf", "server web:8000 resolve;\n")
        tolerant = "error timeout http_502 http_503" if self.set_up == "names" else "error timeout"
        _write(directory / "nginx.conf", _NGINX.format(drain=_DRAIN, servers=servers, next_upstream=tolerant))


def application(image: str, **environment: str) -> dict[str, Any]:
    """Give a service of the web application, with its health check."""
    return {
        "image": image,
        "pull_policy": "never",
        "environment": {"BOOT": str(BOOT), **environment},
        "healthcheck": {
            "test": ["CMD", "curl", "-fso", "/dev/null", "http://127.0.0.1:8000/health"],
            "interval": "0.5s",
            "timeout": "5s",
            "retries": 3,
            "start_period": "20s",
        },
    }


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    # nginx does not run as root.
    path.chmod(0o644)
