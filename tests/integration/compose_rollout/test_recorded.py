# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the unit tests read is what Compose and the engine say today, and what Compose refuses itself stays refused."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import docker
import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import spec

from . import lives
from .debian import IMAGE
from .project import Project, service

RECORDED = Path(__file__).parents[2] / "unit" / "rollout" / "recorded"
FRONT = RECORDED / "front"


def normalised(project: Project) -> str:
    finished = subprocess.run(
        ["docker", "compose", "--profile", "job", "config"],
        cwd=project.directory,
        env=project.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return finished.stdout


@pytest.mark.every_compose
def test_compose_says_of_the_recorded_files_what_was_recorded(project: Project):
    shutil.copytree(FRONT, project.directory, dirs_exist_ok=True)

    said = spec.parse(normalised(project))
    recorded = spec.parse((FRONT / "2.40.3.config").read_text("utf-8"))

    assert said.services == recorded.services
    # Their things have the project's directory in them.
    for name, each in said.services.items():
        assert each.exclusive == recorded.services[name].exclusive
    assert (said.networks, said.volumes) == (recorded.networks, recorded.volumes)
    assert said.secret_files == (str(project.directory / "files" / "k$y"),)


@pytest.mark.every_compose
def test_all_that_is_wrong_with_a_project_is_told_at_once(project: Project):
    def web(proxy: str, **x_rollout: object) -> dict:
        route = {"service": proxy, "upstream": "web", "port": 80}
        return {"image": IMAGE, "command": ["sleep", "1000"], "x-rollout": {"proxy": route, **x_rollout}}

    project.write(
        {
            "web": {
                **web("nginx", stabel="5s", drain_timeout="soon", checks=[{"http": {"path": "/"}}]),
                "post_start": [{"command": ""}],
                "deploy": {"update_config": {"failure_action": "panic"}},
            },
            "api": {**web("nginx"), "depends_on": ["nginx"]},
            "nginx": service(),
            "cache": web("cache"),
            "job": service(read_only=True, configs=["inline"]),
        },
        configs={"inline": {"content": "level 1"}},
    )

    before = project.objects()
    for check in (True, False):
        result = project.roll_out(check=check)
        assert result.failed
        for problem in (
            "services.web.x-rollout.stabel: unknown, perhaps stable is meant; allowed: timeout, stable, ",
            "services.web.x-rollout.drain_timeout: 'soon' is no duration; write it like 90s or 1m30s",
            "services.web.x-rollout.checks[0].http.port: missing",
            "services.web.post_start[0].command: must be a list of words",
            "services.web.deploy.update_config.failure_action: 'panic'; allowed: rollback, pause, continue",
            "services.cache.x-rollout.proxy.service: cache cannot route to itself",
            "x-rollout.proxy.upstream: /etc/nginx/upstreams/web.conf of nginx is already that of services.",
            "services.job.configs: inline is written by configs.inline.content into a container that is read_only",
            "go in a circle: api -> nginx -> api (nginx is rolled out after api, which it routes to)",
            "No container was changed",
        ):
            assert problem in result["msg"], json.dumps(result["msg"], indent=1)
    assert project.objects() == before
    assert not project.state.exists()


@pytest.mark.parametrize("name", ["healthy", "slow", "exits"])
@pytest.mark.parametrize("recorded", sorted((RECORDED / "lives").glob("*.json")), ids=lambda path: path.stem)
def test_this_engine_tells_of_a_container_s_life_what_was_recorded(
    engine: docker.DockerClient, name: str, recorded: Path
):
    def told(looks: list[dict]) -> list[tuple[str, str]]:
        return [(look["action"], look["inspect"]["State"]["Status"]) for look in looks]

    assert told(lives.live(engine, name)) == told(json.loads(recorded.read_text("utf-8"))["lives"][name])
