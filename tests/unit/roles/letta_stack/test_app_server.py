# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variant app_server: its Compose file, what it refuses, its secrets."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[4]
ROLE = ROOT / "roles" / "letta_stack"
PAGE = ROOT / "docs" / "variants" / "app_server.md"
TEMPLATE = "{{ lookup('ansible.builtin.template', 'compose.yaml.j2') }}"
COMPLAINTS = "{{ __letta_stack_complaints }}"
KEY = "sk-never-to-be-seen"
TOKEN = "Token-never-to-be-seen"
SETTINGS = {
    "letta_stack_variant": "app_server",
    "letta_stack_app_server_token": TOKEN,
    "letta_stack_environment": {"OPENAI_API_KEY": KEY, "LMSTUDIO_BASE_URL": "http://llm.example:8000/v1"},
}


@pytest.fixture(scope="module")
def project(render):
    return yaml.safe_load(render("letta_stack", TEMPLATE, **SETTINGS))


@pytest.fixture(scope="module")
def server(project):
    return project["services"]["app_server"]


def test_it_is_the_server_behind_nginx_and_nothing_else(project):
    assert list(project["services"]) == ["app_server", "nginx"]
    assert project["services"]["nginx"]["depends_on"] == {"app_server": {"condition": "service_healthy"}}
    assert list(project["volumes"]) == ["app_server"]
    assert set(project["networks"]) == {"front", "edge", "egress"}


def test_everyone_needs_the_token_which_is_a_file(server):
    command = server["command"]
    assert command[command.index("--ws-auth") + 1] == "capability-token"
    assert command[command.index("--ws-token-file") + 1] == "/run/secrets/app_server_token"
    assert server["secrets"] == ["app_server_token", "OPENAI_API_KEY"]


def test_all_that_it_writes_is_on_one_volume(server):
    assert [volume for volume in server["volumes"] if not volume.endswith(":ro")] == ["app_server:/var/lib/letta"]
    environment = server["environment"]
    for place in (environment["HOME"], environment["LETTA_LOCAL_BACKEND_DIR"], server["working_dir"]):
        assert Path(place).is_relative_to("/var/lib/letta")


def test_it_neither_tells_of_itself_nor_updates_itself(server):
    assert server["environment"]["LETTA_CODE_TELEM"] == "0"
    assert server["environment"]["DISABLE_AUTOUPDATER"] == "1"
    assert server["environment"]["LMSTUDIO_BASE_URL"] == "http://llm.example:8000/v1"


def test_its_files_never_have_two_owners_and_nobody_gets_in_before_the_gate(server):
    assert server["deploy"]["update_config"]["order"] == "stop-first"
    rollout = server["x-rollout"]
    assert {"http": {"port": 4500, "path": "/readyz"}} in rollout["checks"]
    assert {"http": {"port": 4500, "path": "/app-server-info", "status": 401}} in rollout["checks"]
    assert rollout["proxy"] == {"service": "nginx", "upstream": "app_server", "port": 4500}
    assert server["healthcheck"]["test"][-1] == "http://127.0.0.1:4500/readyz"


def test_it_has_a_secret_of_its_own_and_those_of_letta_are_not_made(render):
    assert render("letta_stack", "{{ __letta_stack_needed_secrets }}", **SETTINGS) == ["app_server_token"]
    given = render("letta_stack", "{{ __letta_stack_given_secrets }}", **SETTINGS)
    assert given == {"app_server_token": TOKEN, "OPENAI_API_KEY": KEY}
    assert "app_server_token" not in render("letta_stack", "{{ __letta_stack_needed_secrets }}")


def test_it_needs_two_images(render):
    assert render("letta_stack", "{{ __letta_stack_needed_images }}", **SETTINGS) == ["app_server", "nginx"]


def test_clients_that_stay_connected_keep_the_next_nginx_waiting_for_seconds_only(project, render):
    assert project["services"]["nginx"]["stop_grace_period"] == "40s"
    assert render("letta_stack", "{{ __letta_stack_front.shutdown }}", **SETTINGS) == 10


def test_the_final_checks_go_through_nginx_and_need_no_secret(render):
    checks = render(
        "letta_stack",
        "{{ __letta_stack_final_checks[__letta_stack_variant.serves] }}",
        letta_stack_variant="app_server",
    )
    assert [(check["http"]["url"], check["http"].get("status", 200)) for check in checks] == [
        ("http://127.0.0.1:8283/readyz", 200),
        ("http://127.0.0.1:8283/app-server-info", 401),
    ]


def test_sound_settings_are_fine(render):
    assert render("letta_stack", COMPLAINTS, **SETTINGS) == []


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("letta_stack_app_server_token", "short", "16 or more"),
        ("letta_stack_app_server_token", "has spaces in the middle", "sent as a bearer token"),
        ("letta_stack_environment", {"OPENAI_KEY": KEY}, "did you mean OPENAI_API_KEY"),
        ("letta_stack_environment", {"HOME": "/root"}, "set by the role"),
        ("letta_stack_environment", {"LETTA_CODE_TELEM": "1"}, "set by the role"),
        ("letta_stack_environment", {"LETTA_PG_URI": "postgresql://elsewhere"}, "has no database"),
        ("letta_stack_environment", {"LETTA_DEFAULT_LLM_HANDLE": "openai/gpt"}, "LETTA_DEFAULT_LLM_HANDLE"),
        ("letta_stack_environment", {"OPENAI_API_KEY": ""}, "is empty"),
        ("letta_stack_environment", {"LMSTUDIO_BASE_URL": "llm:8000"}, "must be a URL"),
    ],
)
def test_a_bad_setting_is_one_clear_complaint(render, name, value, allowed):
    (complaint,) = render("letta_stack", COMPLAINTS, **{**SETTINGS, name: value})
    assert name in complaint
    assert allowed in complaint
    assert str(value) not in complaint


def test_lettas_own_variables_are_as_they_were_for_other_variants(render):
    environment = {"LETTA_DEFAULT_LLM_HANDLE": "openai/gpt", "OPENAI_API_KEY": KEY}
    assert render("letta_stack", COMPLAINTS, letta_stack_environment=environment) == []


@pytest.mark.parametrize("path", ["verify/app_server.yml", "verify/letta.yml"])
def test_no_request_goes_through_a_proxy_which_would_be_shown_the_token(path):
    tasks = yaml.safe_load((ROLE / "tasks" / path).read_text(encoding="utf-8"))
    requests = [task["ansible.builtin.uri"] for task in tasks if "ansible.builtin.uri" in task]
    assert requests
    assert [request["url"] for request in requests if request.get("use_proxy") is not False] == []


def test_what_shows_the_token_is_not_logged():
    tasks = yaml.safe_load((ROLE / "tasks" / "verify" / "app_server.yml").read_text(encoding="utf-8"))
    shows = [task for task in tasks if "__letta_stack_token" in str(task)]
    assert len(shows) == 3
    assert all(task.get("no_log") is True for task in shows)


class TestWithSecrets:
    """The script that the container starts with, run by a real shell."""

    SCRIPT = ROLE / "files" / "with-secrets.sh"

    def run(self, directory: Path, *command: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], "KEPT": "kept"}
        return subprocess.run(
            ["sh", str(self.SCRIPT), str(directory), *command],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def test_secrets_named_like_variables_become_those(self, tmp_path):
        (tmp_path / "OPENAI_API_KEY").write_text("sk-$(id)`id` 'quoted' \\ \"so\"\n")
        (tmp_path / "app_server_token").write_text("not for the environment")
        (tmp_path / "2FA").write_text("no name of a variable")
        done = self.run(tmp_path, "python3", "-c", "import json, os; print(json.dumps(dict(os.environ)))")
        assert done.returncode == 0, done.stderr
        seen = json.loads(done.stdout)
        assert seen["OPENAI_API_KEY"] == "sk-$(id)`id` 'quoted' \\ \"so\""
        assert seen["KEPT"] == "kept"
        assert not {"app_server_token", "2FA"} & set(seen)
        assert "not for the environment" not in done.stdout

    def test_it_becomes_the_command_and_ends_as_it_does(self, tmp_path):
        done = self.run(tmp_path, "sh", "-c", 'printf "%s " "$@"; exit 7', "sh", "one", "two words")
        assert (done.returncode, done.stdout) == (7, "one two words ")

    def test_a_secret_that_cannot_be_read_ends_it(self, tmp_path):
        (tmp_path / "OPENAI_API_KEY").symlink_to(tmp_path / "nowhere")
        done = self.run(tmp_path, "echo", "started")
        assert done.returncode != 0
        assert "started" not in done.stdout


def specified(role: str) -> dict:
    specs = yaml.safe_load((ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    return specs["argument_specs"]["main"]["options"]


def test_one_version_is_locked_built_named_and_asked_for():
    locked = (ROOT / "files/images/letta-app-server/requirements.txt").read_text(encoding="utf-8")
    (version,) = re.findall(r"^letta==(\S+)", locked, re.MULTILINE)
    dockerfile = (ROOT / "files/images/letta-app-server/Dockerfile").read_text(encoding="utf-8")
    assert f"ARG VERSION={version}\n" in dockerfile
    recipes = yaml.safe_load((ROOT / "roles/letta_images/vars/main.yml").read_text(encoding="utf-8"))
    image = f"agentfleet/letta-app-server:{version}"
    assert recipes["__letta_images_recipes"]["app_server"]["name"] == image
    assert specified("letta_images")["letta_images_app_server"]["default"] == image
    assert specified("letta_stack")["letta_stack_images"]["default"]["app_server"] == image


def test_the_page_lists_the_variables_that_may_be_set_and_which_are_secret():
    known = yaml.safe_load((ROLE / "vars/main/app_server_environment.yml").read_text(encoding="utf-8"))[
        "__letta_stack_app_server_environment"
    ]["known"]
    page = PAGE.read_text(encoding="utf-8")
    assert set(re.findall(r"`([A-Z][A-Z0-9_]+)`", page)) == set(known)
    secret = {name for name, rule in known.items() if rule.get("secret")}
    assert set(re.findall(r"\*\*`([A-Z][A-Z0-9_]+)`\*\*", page)) == secret
