# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A wrong setting of one host stops a deployment before it changes any other, whichever role reads the setting."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("docker_host_live_restore", "maybe", "docker_host_live_restore"),
        ("letta_images_source", "guess", "letta_images_source"),
        ("letta_images_server", "letta/letta", "names neither a tag nor a digest"),
        ("nginx_error_log_level", "loud", "nginx_error_log_level"),
        ("nginx_trusted_proxies", ["proxy.example.com"], "nginx_trusted_proxies: each must be an IP address"),
        ("letta_stack_port", 70000, "letta_stack_port: must be between 1 and 65535"),
    ],
)
def test_a_wrong_setting_of_the_last_host_stops_the_run_before_the_first_changes(tmp_path, name, value, message):
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    hosts = {"first": here, "second": here, "last": {**here, name: value}}
    inventory = tmp_path / "hosts.json"
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}), encoding="utf-8")
    playbook = str(Path(sys.executable).with_name("ansible-playbook"))
    # What should be refused and is not must not reach this machine.
    run = subprocess.run(
        [playbook, "-i", str(inventory), "playbooks/deploy.yml", "--check"],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode != 0
    assert message in " ".join((run.stdout + run.stderr).split())
    assert "Reach the host" not in run.stdout
    assert "Deploy, one host first" not in run.stdout
