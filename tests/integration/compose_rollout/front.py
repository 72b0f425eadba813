# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site behind nginx, and clients that notice every answer that is not one."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import spec
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.clock import MonotonicClock
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.docker_engine import DockerEngine
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.nginx_router import NginxRouter
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.policy import Route

from .project import Project, wait_for

PORT = 8000
# Bytes that /long gives, and how many of them in a second: an answer of four seconds.
LONG, RATE = 8192, 2048

_START = """
worker_processes 2;
worker_shutdown_timeout 60s;
pid /tmp/nginx.pid;
error_log stderr crit;
events { worker_connections 1024; }
http {
    access_log off;
    client_body_temp_path /tmp/client_body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
"""
# It says who answers, and its long answers come bit by bit.
_APPLICATION = f"""{_START}
    keepalive_requests 1000000;
    server {{
        listen {PORT};
        location / {{ return 200 "$hostname"; }}
        location /long {{ root /srv; limit_rate {RATE}; }}
    }}
}}
"""
_FRONT = """
    upstream {name} {{
        zone {name} 256k;
        include upstreams/{name}.conf;
        keepalive 32;
    }}
    server {{
        listen {port};
        location / {{
            proxy_pass http://{name};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_connect_timeout 3s;
        }}
    }}
"""


def application(image: str, **keys: Any) -> dict[str, Any]:
    """Give a service that answers with its container's name, and dies at once when it is stopped."""
    volumes = ["./application.conf:/etc/nginx/nginx.conf:ro", "./long:/srv/long:ro"]
    return {"image": image, "stop_signal": "SIGKILL", "volumes": volumes, **keys}


def front(image: str, **keys: Any) -> dict[str, Any]:
    """Give a service that is the nginx in front."""
    volumes = ["./front.conf:/etc/nginx/nginx.conf:ro", "./upstreams:/etc/nginx/upstreams:ro"]
    return {"image": image, "stop_signal": "SIGKILL", "volumes": volumes, **keys}


@dataclass
class Site:
    """A project whose services `web`, and perhaps `api`, stand behind its service `nginx`."""

    project: Project
    upstreams: tuple[str, ...] = ("web",)
    spec: spec.Project = field(init=False)
    router: NginxRouter = field(init=False)

    def write(self, services: dict[str, Any]) -> None:
        """Write its files, without upstream files."""
        fronts = (_FRONT.format(name=name, port=8080 + number) for number, name in enumerate(self.upstreams))
        resolver = "keepalive_min_timeout 2s;\nresolver 127.0.0.11 valid=2s ipv6=off;\n"
        directory = self.project.directory
        (directory / "application.conf").write_text(_APPLICATION)
        (directory / "front.conf").write_text(f"{_START}{resolver}{''.join(fronts)}}}\n")
        (directory / "long").write_text("x" * LONG)
        (directory / "upstreams").mkdir(exist_ok=True)
        self.project.write(services)
        self.spec = spec.parse(self.project.compose("config"))
        self.router = NginxRouter(DockerEngine(), self.spec, MonotonicClock())

    def put(self, text: str, upstream: str = "web") -> None:
        """Write an upstream file behind the router's back."""
        (self.project.directory / "upstreams" / f"{upstream}.conf").write_text(text)

    def read(self, upstream: str = "web") -> str:
        return (self.project.directory / "upstreams" / f"{upstream}.conf").read_text()

    def up(self, *options: str) -> None:
        """Start all of it, and wait until it answers."""
        self.project.compose("up", "--detach", *options)
        for upstream in self.upstreams:
            for address in self.addresses(upstream):
                wait_for(f"{upstream} answers at {address}", lambda address=address: _answers(address))

    def addresses(self, upstream: str = "web") -> list[str]:
        """Where each container of the proxy answers for a service, as HOST:PORT."""
        port = 8080 + self.upstreams.index(upstream)
        containers = self.project.containers("nginx", running=True)
        networks = (each.attrs["NetworkSettings"]["Networks"] for each in containers)
        return [f"{next(iter(network.values()))['IPAddress']}:{port}" for network in networks]

    def ask(self, address: str) -> str:
        """Give which container answers on a new connection, by its engine's short id."""
        connection = http.client.HTTPConnection(address, timeout=10)
        try:
            connection.request("GET", "/")
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def container(self, name: str) -> Any:
        """Give a container by what follows the project's name in its own."""
        return self.project.engine.containers.get(self.name(name))

    def name(self, name: str) -> str:
        return f"{self.project.name}-{name}"

    def switch(self, route: Route, text: str) -> None:
        """Switch, and wait until nobody is served by what served before."""
        switched = self.router.switch(route, text)
        wait_for("the old workers are gone", lambda: self.router.drained(switched) == 0)


def _answers(address: str) -> bool:
    connection = http.client.HTTPConnection(address, timeout=2)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@dataclass
class Traffic:
    """What clients saw: how many answers, and each that was none."""

    answered: int = 0
    lost: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def to(self, address: str, path: str = "/", methods: tuple[str, ...] = ("GET", "POST")) -> Iterator[Traffic]:
        """Ask without a pause, on connections that are kept and on new ones."""
        stop = threading.Event()
        kinds = [(method, keep) for method in methods for keep in (True, False)]
        clients = [threading.Thread(target=self._client, args=(address, path, *kind, stop)) for kind in kinds]
        for client in clients:
            client.start()
        try:
            yield self
        finally:
            stop.set()
            for client in clients:
                client.join()

    def _client(self, address: str, path: str, method: str, keep: bool, stop: threading.Event) -> None:
        connection = http.client.HTTPConnection(address, timeout=10)
        while not stop.is_set():
            try:
                connection.request(method, path, body=b"x" * 100 if method == "POST" else None)
                answer = connection.getresponse()
                answer.read()
                seen = "" if answer.status == 200 else str(answer.status)
            except (OSError, http.client.HTTPException) as error:
                seen = repr(error)
                connection.close()
            with self._lock:
                self.answered += not seen
                if seen:
                    self.lost.append(f"{method} on a {'kept' if keep else 'new'} connection: {seen}")
            if keep:
                # Leaves the processor to those who ask on new connections, where a switch could lose most.
                time.sleep(0.005)
            else:
                connection.close()
