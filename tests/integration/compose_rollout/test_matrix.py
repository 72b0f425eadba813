# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each order with each way that an update can end, for one container and for three.

The cases of one order follow each other on one project: what a case leaves is what the next one starts from, as on a
host that is updated for years.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from .front import Site, front
from .project import Event, Project, Result, healthcheck, running_counts, service, wait_for

GOOD = "touch /tmp/ready; sleep 1000"


@dataclass(frozen=True)
class Setting:
    """How a service is replaced, and how many containers it has."""

    order: str
    replicas: int

    def __str__(self) -> str:
        return f"{self.order}-{self.replicas}"

    def web(self, project: str, script: str, **keys: Any) -> dict[str, Any]:
        """Give the service; `keys` are the case's own."""
        deploy: dict[str, Any] = {"replicas": self.replicas, "update_config": {"parallelism": 1}}
        if self.order == "recreate":
            keys["container_name"] = f"{project}-only"
        else:
            deploy["update_config"]["order"] = self.order.replace("_", "-")
        return {**service(script, healthcheck=healthcheck(), restart="no", deploy=deploy), **keys}

    @property
    def fewest(self) -> int:
        """How many containers run at least, at any time."""
        return self.replicas if self.order == "start_first" else self.replicas - 1

    @property
    def most(self) -> int:
        return self.replicas + 1 if self.order == "start_first" else self.replicas


SETTINGS = [
    Setting("start_first", 1),
    Setting("start_first", 3),
    Setting("stop_first", 1),
    Setting("stop_first", 3),
    Setting("recreate", 1),
]


@dataclass(frozen=True)
class Success:
    """An update that ends well."""

    script: str


@dataclass(frozen=True)
class Failure:
    """An update that does not: what the new version is, and what the operator is told of it."""

    reasons: tuple[str, ...]
    words: tuple[str, ...]
    script: str = GOOD
    keys: dict[str, Any] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)


SUCCESSES = {"healthy": Success(GOOD), "slow": Success(f"sleep 1; {GOOD}")}
ROLLED_BACK = {
    "unhealthy": Failure(
        ("unhealthy",),
        ("still unhealthy", "exit code 5, no route"),
        keys={"healthcheck": healthcheck("echo no route; exit 5")},
        arguments={"timeout": 4},
    ),
    "exits": Failure(("exited",), ("code 42", "out of cheese"), script="echo out of cheese; exit 42"),
    "crash-loop": Failure(
        ("restarting",), ("exit code 9", "cannot bind"), script="echo cannot bind; exit 9", keys={"restart": "always"}
    ),
    # Under cgroup v1 the engine does not always see which kill was for memory.
    "oom": Failure(
        ("oom", "exited"), ("out of memory",), script="x=x; while :; do x=$x$x; done", keys={"mem_limit": "16m"}
    ),
    "never-healthy": Failure(
        ("timeout",),
        ("was starting, not healthy",),
        script="sleep 1000",
        keys={"healthcheck": healthcheck(start_period="60s")},
        arguments={"timeout": 1},
    ),
    "check-fails": Failure(
        ("check",),
        ("exec test -e /tmp/migrated", "exit code 1"),
        keys={"x-rollout": {"checks": [{"exec": {"command": ["test", "-e", "/tmp/migrated"]}}]}},
        # A busy host's first health probe has to fit in.
        arguments={"timeout": 4},
    ),
    "bad-command": Failure(
        ("create",), ("could not be started", "/bin/no-such-program"), keys={"entrypoint": ["/bin/no-such-program"]}
    ),
}


@pytest.fixture(scope="module", params=SETTINGS, ids=str)
def setting(request: pytest.FixtureRequest) -> Setting:
    return request.param


@pytest.fixture(scope="module")
def shared(
    setting: Setting,
    new_project: Callable[[Path], AbstractContextManager[Project]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Project]:
    with new_project(tmp_path_factory.mktemp(str(setting))) as project:
        yield project


@pytest.fixture
def project(shared: Project, setting: Setting) -> Project:
    """The project with its service at work, whatever a failed case left."""
    if len(shared.names("web")) != setting.replicas or len(shared.all_ids()) != setting.replicas:
        shared.remove()
        shared.deploy({"web": setting.web(shared.name, GOOD, environment={"CASE": "first"})})
    return shared


def states(project: Project) -> dict[str, tuple[str, ...]]:
    """What there is of each container's past, without its id: one that had to be made again is no other one."""
    return {
        each.name: (
            each.status,
            each.attrs["Image"],
            each.labels["com.docker.compose.config-hash"],
            each.attrs["HostConfig"]["RestartPolicy"]["Name"],
            *each.attrs["Config"]["Env"],
        )
        for each in project.containers()
    }


def assert_counts(setting: Setting, events: list[Event]) -> None:
    counts = running_counts(events, "web", setting.replicas)
    assert max(counts) <= setting.most, counts
    assert min(counts) >= setting.fewest, counts
    assert counts[-1] == setting.replicas, counts


def assert_said(result: Result, expected: Failure, serving: list[str]) -> None:
    assert result.failed
    assert "\n" not in result["msg"]
    assert result["failure"]["reason"] in expected.reasons
    assert result["failure"]["service"] == "web"
    for word in (*expected.words, *serving):
        assert word in result["msg"]


@pytest.mark.parametrize("case", SUCCESSES)
def test_a_good_version_takes_the_place_of_the_old_one(project: Project, setting: Setting, case: str):
    before = project.ids()
    environment = {"CASE": case}
    project.write({"web": setting.web(project.name, SUCCESSES[case].script, environment=environment)})

    with project.events() as events:
        result = project.roll_out()

    assert not result.failed, result["msg"]
    assert result["outcome"] == "deployed"
    assert result.service("web")["order"] == setting.order
    after = project.ids()
    assert project.all_ids() == set(after)
    assert len(after) == setting.replicas
    assert not set(before) & set(after)
    assert all(f"CASE={case}" in each.attrs["Config"]["Env"] for each in project.containers())
    assert_counts(setting, events)


@pytest.mark.parametrize("case", ROLLED_BACK)
def test_a_bad_version_gives_way_to_the_old_one(project: Project, setting: Setting, case: str):
    expected = ROLLED_BACK[case]
    before, old = project.ids(), states(project)
    keys = {"environment": {"CASE": case}, **expected.keys}
    project.write({"web": setting.web(project.name, expected.script, **keys)})

    with project.events() as events:
        result = project.roll_out(**expected.arguments)

    assert_said(result, expected, sorted(old))
    assert result["outcome"] == "rolled_back", result["problems"]
    assert result["problems"] == []
    assert result.service("web")["order"] == setting.order
    assert states(project) == old
    if setting.order != "recreate":
        assert project.all_ids() == set(before)
    if setting.order == "start_first":
        assert project.ids() == before
    assert_counts(setting, events)


@pytest.mark.parametrize("case", ["pull-fails", "bad-file"])
def test_what_cannot_begin_touches_nothing(project: Project, setting: Setting, case: str):
    before = project.objects()
    if case == "pull-fails":
        # Nothing listens there.
        missing = "127.0.0.1:9/never-pushed:1"
        project.write({"web": setting.web(project.name, GOOD, image=missing)})
        with project.events() as events:
            result = project.roll_out()
        assert_said(result, Failure(("pull",), (missing,)), [])
    else:
        project.write({"web": setting.web(project.name, GOOD, comand=["true"])})
        with project.events() as events:
            result = project.roll_out()
        assert result.failed
        assert "comand" in result["msg"]
        assert "No container was changed" in result["msg"]

    assert [event for event in events if not event.action.startswith("exec_")] == []
    assert project.objects() == before


# Stands before nginx in its container: refuses a configuration by the rule in /rules, in nginx's manner.
PICKY_NGINX = """\
#!/bin/sh
case " $* " in
  *" -t "* | *" -T "*)
    text=
    while IFS= read -r line; do text="$text $line"; done < /etc/nginx/upstreams/web.conf
    . /rules/refuse
    ;;
esac
# By its name alone, which is then what nginx goes by, and what it is called by again.
PATH=/usr/sbin
exec nginx "$@"
"""
REFUSE = "{ echo 'nginx: [emerg] no cheese in /etc/nginx/upstreams/web.conf:2' >&2; exit 1; }"
SERVER = "mkdir /www; echo $CASE > /www/index.html; httpd -p 8000 -h /www; touch /tmp/ready; sleep 1000"


def test_a_proxy_that_refuses_the_new_one_keeps_the_old_one(
    new_project: Callable[[Path], AbstractContextManager[Project]], tmp_path: Path, setting: Setting, nginx: str
):
    def services(project: Project, case: str) -> dict[str, Any]:
        route = {"service": "nginx", "upstream": "web", "port": 8000}
        web = setting.web(project.name, SERVER, environment={"CASE": case}, **{"x-rollout": {"proxy": route}})
        proxy = front(nginx)
        proxy["volumes"] = [*proxy["volumes"], "./nginx:/usr/local/bin/nginx:ro", "./rules:/rules:ro"]
        return {"web": web, "nginx": proxy}

    with new_project(tmp_path) as project:
        site = Site(project)
        rule = project.directory / "rules" / "refuse"
        rule.parent.mkdir()
        rule.touch()
        (project.directory / "nginx").write_text(PICKY_NGINX, encoding="utf-8")
        (project.directory / "nginx").chmod(0o755)
        site.write(services(project, "old"))
        project.deploy()
        (address,) = site.addresses()
        wait_for("the old one answers", lambda: site.ask(address) == "old\n")
        before, old, upstream = project.ids("web"), states(project), site.read()
        if setting.order == "recreate":
            # Old and new have one name, so it is the file of the time in between that is refused.
            rule.write_text(f'case "$text" in *" backup"*) ;; *) {REFUSE} ;; esac\n', encoding="utf-8")
        else:
            name = f"{project.name}-web-{setting.replicas + 1}:"
            rule.write_text(f'case "$text" in *"{name}"*) {REFUSE} ;; esac\n', encoding="utf-8")
        project.write(services(project, "new"))

        with project.events() as events:
            result = project.roll_out()

        serving = [name for name in old if "-nginx-" not in name]
        assert_said(result, Failure(("proxy",), ("no cheese",)), serving)
        assert result["outcome"] == "rolled_back", result["problems"]
        assert result["problems"] == []
        assert states(project) == old
        if setting.order != "stop_first":
            # Where the proxy refused before anything was stopped, nothing was.
            assert project.ids("web") == before
        assert_counts(setting, events)
        assert site.read() == upstream
        assert site.ask(address) == "old\n"
