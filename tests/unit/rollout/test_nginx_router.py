# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a real nginx and a real engine cannot be asked to do: never start workers, or go away in the middle."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import observe
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.engine import Execution
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.errors import EngineUnreachable, ProxyError
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.nginx_router import NginxRouter
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.policy import Hook, Route

from . import samples

WEB = Route("nginx", "web", 8000)
CONFIGURATION = "# configuration file /etc/nginx/upstreams/web.conf:\n"


@dataclass
class Proxies:
    """Engine and Clock: nginx in containers that reload as they are told to, or do not."""

    names: tuple[str, ...] = ("nginx-1",)
    reloads: bool = True
    # The call of this number finds no engine.
    gone_at: int = 0
    # Until then the process has the title of a program that starts.
    titled_at: float = 0.0
    time: float = 0.0
    calls: int = 0
    generation: dict[str, int] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def _call(self) -> None:
        self.calls += 1
        if self.calls == self.gone_at:
            raise EngineUnreachable("connection refused")

    def containers(self, project: str) -> list[observe.Container]:
        self._call()
        return [samples.container(id=name, name=name, service="nginx", status="running") for name in self.names]

    def processes(self, container_id: str) -> dict[int, str]:
        self._call()
        if self.time < self.titled_at:
            return {7: "nginx -g daemon off;"}
        worker = 100 + self.generation.get(container_id, 0)
        return {7: "nginx: master process nginx -g daemon off;", worker: "nginx: worker process"}

    def execute(self, container_id: str, command: Hook, timeout: float) -> Execution:
        self._call()
        if command.command[-2:] != ("-s", "reload"):
            return Execution(0, CONFIGURATION)
        self.told.append(container_id)
        self.generation[container_id] = self.generation.get(container_id, 0) + self.reloads
        return Execution(0, "")


@pytest.fixture
def upstreams(tmp_path: Path) -> Path:
    (tmp_path / "web.conf").write_text("server web-1:8000;\n")
    return tmp_path


def router(proxies: Proxies, upstreams: Path) -> NginxRouter:
    volume = {"type": "bind", "source": str(upstreams), "target": "/etc/nginx/upstreams"}
    return NginxRouter(proxies, samples.project(nginx={"volumes": [volume]}, web={}), proxies)


def test_what_serves_after_a_switch_is_not_what_served_before(upstreams: Path) -> None:
    proxies = Proxies(("nginx-1", "nginx-2"))
    switched = router(proxies, upstreams).switch(WEB, "server web-1:8000; server web-2:8000;\n")
    assert switched.workers == (("nginx-1", (100,)), ("nginx-2", (100,)))
    assert router(proxies, upstreams).drained(switched) == 0


def test_a_reload_without_new_workers_is_no_switch_and_is_taken_back(upstreams: Path) -> None:
    proxies = Proxies(reloads=False)
    with pytest.raises(ProxyError, match="nginx-1 started no new workers within 10 s"):
        router(proxies, upstreams).switch(WEB, "server web-2:8000;\n")
    assert (upstreams / "web.conf").read_text() == "server web-1:8000;\n"
    assert proxies.told == ["nginx-1", "nginx-1"]


def test_wherever_the_engine_goes_away_the_file_of_before_is_back_and_the_engine_is_named(upstreams: Path) -> None:
    whole = Proxies()
    router(whole, upstreams).switch(WEB, "server web-2:8000;\n")
    (upstreams / "web.conf").write_text("server web-1:8000;\n")
    for call in range(1, whole.calls + 1):
        with pytest.raises(EngineUnreachable):
            router(Proxies(gone_at=call), upstreams).switch(WEB, "server web-2:8000;\n")
        assert (upstreams / "web.conf").read_text() == "server web-1:8000;\n"


def test_an_nginx_that_has_just_been_started_is_waited_for(upstreams: Path) -> None:
    proxies = Proxies(titled_at=3.0)
    router(proxies, upstreams).switch(WEB, "server web-1:8000; server web-2:8000;\n")
    assert proxies.told == ["nginx-1"]


def test_a_container_that_never_becomes_an_nginx_is_named(upstreams: Path) -> None:
    with pytest.raises(ProxyError, match="nginx-1 runs no nginx"):
        router(Proxies(titled_at=1000.0), upstreams).switch(WEB, "server web-2:8000;\n")
    assert (upstreams / "web.conf").read_text() == "server web-1:8000;\n"


def test_a_disk_that_takes_no_file_is_a_refusal(upstreams: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ProxyError, match=r"No space left on device.*could not be put back"):
        router(Proxies(), upstreams).switch(WEB, "server web-2:8000;\n")
    assert (upstreams / "web.conf").read_text() == "server web-1:8000;\n"


def test_a_directory_that_a_running_proxy_lost_is_a_problem(tmp_path: Path) -> None:
    service = samples.project(web={}).services["web"]
    (problem,) = router(Proxies(), tmp_path / "gone").examine(service, WEB).problems
    assert "was removed" in problem


def test_a_directory_that_is_to_be_made_is_fine(tmp_path: Path) -> None:
    service = samples.project(web={}).services["web"]
    assert router(Proxies(()), tmp_path / "new").examine(service, WEB).problems == ()


def test_a_file_in_the_directorys_place_is_a_problem(upstreams: Path) -> None:
    service = samples.project(web={}).services["web"]
    (problem,) = router(Proxies(()), upstreams / "web.conf").examine(service, WEB).problems
    assert "has to be a directory" in problem
