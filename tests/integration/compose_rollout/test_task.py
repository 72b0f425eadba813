# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as a task of Ansible: check, apply, check, apply; a failed task; --diff; what -vvv prints."""

from __future__ import annotations

import pytest

from .project import Project, healthcheck, service

SECRET = "correct-horse-battery"


@pytest.mark.every_compose
def test_check_apply_check_apply(project: Project):
    project.write({"web": service()})

    assert project.task("--check")["changed"] is True
    assert project.names() == []
    assert project.task()["changed"] is True
    before = project.ids()
    assert project.task("--check")["changed"] is False
    assert project.task()["changed"] is False
    assert project.ids() == before


def test_diff_shows_before_and_after_and_hides_values_that_may_be_secret(project: Project):
    project.deploy({"web": service(environment={"API_KEY": "sk-old-5d1c"}, cpu_shares=512)})
    project.write({"web": service(environment={"API_KEY": "sk-new-77aa"}, cpu_shares=256)})

    shown = project.task("--check", "--diff").output

    assert "plan: web: 1 new, start_first, in place of" in shown
    assert "cpu_shares: 512 -> 256" in shown
    assert "-  cpu_shares: 512" in shown
    assert "+  cpu_shares: 256" in shown
    assert "API_KEY: hidden:" in shown
    assert "sk-old" not in shown
    assert "sk-new" not in shown


def test_a_secret_of_a_file_is_never_seen(project: Project):
    """The container prints it, the failing health probe prints it, and Ansible prints all that it knows."""
    secret = project.directory / "password"
    secret.write_text(f"{SECRET}\n", encoding="utf-8")
    sections = {"secrets": {"password": {"file": "./password"}}}
    project.write({"web": service(secrets=["password"])}, **sections)
    project.deploy()
    project.write(
        {
            "web": service(
                "cat /run/secrets/password; sleep 1000",
                secrets=["password"],
                healthcheck=healthcheck("cat /run/secrets/password; exit 1"),
            )
        },
        **sections,
    )

    result = project.task("--diff", "-vvv", timeout=4)

    assert result.failed
    assert result["failure"]["logs"] == ["[redacted]"]
    assert "[redacted]" in result["failure"]["health_log"][-1]["output"]
    assert "[redacted]" in result["msg"]
    assert SECRET not in result.output
    assert all(SECRET not in text for text in project.state_files.values())


def test_a_rollback_fails_the_task_and_says_why_in_one_sentence(project: Project):
    project.deploy({"web": service()})
    before = project.ids()
    project.write({"web": service("echo no database; exit 3")})

    result = project.task(stable=1)

    assert result.failed
    assert result["outcome"] == "rolled_back"
    assert result["msg"] == (
        f"web: {project.name}-web-2 exited with code 3 (last line of its log: no database). "
        f"Rolled back; serving: {project.name}-web-1."
    )
    assert project.ids() == before
