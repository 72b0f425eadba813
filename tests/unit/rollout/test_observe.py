# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container as the engine really reported it."""

from __future__ import annotations

import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import observe

from . import samples


@pytest.mark.parametrize(
    ("state", "status", "health", "running", "serving"),
    [
        ("healthy", "running", "healthy", True, True),
        ("unhealthy", "running", "unhealthy", True, False),
        ("starting", "running", "starting", True, False),
        ("unchecked", "running", None, True, True),
        ("restarting", "restarting", None, True, False),
        ("created", "created", None, False, False),
        ("exited", "exited", None, False, False),
        ("completed", "exited", None, False, False),
    ],
)
def test_each_state_is_told_apart(state: str, status: str, health: str | None, running: bool, serving: bool) -> None:
    seen = samples.container(state)
    assert (seen.status, seen.health, seen.running, seen.serving) == (status, health, running, serving)


def test_compose_s_labels_say_whose_it_is() -> None:
    seen = samples.container("healthy")
    assert (seen.service, seen.number, seen.config_hash, seen.oneoff) == ("web", 1, "abc123", False)
    assert (seen.name, seen.image, seen.stop_timeout) == ("trial-healthy", "agentfleet-test/busybox:1", 90)
    assert (seen.restart_policy, seen.environment) == (("unless-stopped", 0), ("LOG=info",))


def test_a_container_of_compose_run_is_a_person_s() -> None:
    answer = samples.inspected("healthy")
    answer["Config"]["Labels"][observe.ONEOFF] = "True"
    assert observe.container(answer).oneoff


def test_the_healthcheck_is_read_in_seconds() -> None:
    assert samples.container("healthy").healthcheck == observe.Healthcheck(1.0, 2.0, 4, 3.0)


def test_what_a_healthcheck_leaves_out_is_the_engine_s_default() -> None:
    assert samples.container("starting").healthcheck == observe.Healthcheck(30.0, 30.0, 3, 0.0)


def test_a_disabled_healthcheck_is_none() -> None:
    assert samples.inspected("unchecked")["Config"]["Healthcheck"] == {"Test": ["NONE"]}
    assert samples.container("unchecked").healthcheck is None


def test_the_deadline_is_what_the_healthcheck_may_take_and_at_least_a_minute() -> None:
    assert observe.Healthcheck(5.0, 3.0, 5, 90.0).deadline() == 90 + 6 * 8
    assert observe.Healthcheck(1.0, 1.0, 3, 0.0).deadline() == 60


def test_the_probes_are_kept_with_what_they_said() -> None:
    assert [(probe.exit_code, probe.output) for probe in samples.container("unhealthy").probes] == [
        (1, "connection refused\n")
    ] * 2


def test_a_crash_loop_shows_its_count_and_last_exit_code() -> None:
    seen = samples.container("restarting")
    assert seen.restart_count > 0
    assert seen.exit_code == 7


def test_the_host_ports_that_are_fixed_are_read() -> None:
    answer = samples.inspected("healthy")
    answer["HostConfig"]["PortBindings"] = {
        "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8283"}, {"HostIp": "", "HostPort": ""}],
        "53/udp": [{"HostIp": "", "HostPort": "53"}],
        "443/tcp": None,
    }
    assert observe.container(answer).holds == {("port", "127.0.0.1", "8283", "tcp"), ("port", "", "53", "udp")}


def test_the_host_s_network_and_gpus_are_things_that_it_has() -> None:
    answer = samples.inspected("healthy")
    answer["HostConfig"].update(NetworkMode="host", IpcMode="private", PidMode="", DeviceRequests=[{"Count": -1}])
    assert observe.container(answer).holds == {("network_mode", "host"), ("device", "requested")}
    answer["HostConfig"].update(NetworkMode="container:abc", DeviceRequests=None, VolumesFrom=["the-db:rw"])
    assert observe.container(answer).holds == {("network_mode", "container"), ("volumes_from", "the-db")}


def test_link_local_addresses_are_had_too() -> None:
    answer = samples.inspected("healthy")
    network = {
        "IPAMConfig": {"LinkLocalIPs": ["169.254.1.1"]},
        "IPAddress": "172.18.0.3",
        "GlobalIPv6Address": "FD00::3",
    }
    answer["NetworkSettings"] = {"Networks": {"back": network}}
    assert observe.container(answer).holds == {("address", each) for each in ("169.254.1.1", "172.18.0.3", "fd00::3")}


def test_only_anonymous_volumes_are_called_so() -> None:
    seen = samples.container("anonymous")
    assert {mount["Destination"] for mount in samples.inspected("anonymous")["Mounts"]} == {"/data", "/named"}
    assert seen.anonymous_volumes == ("/data",)


def test_a_grace_period_of_zero_is_not_the_engine_s_default() -> None:
    answer = samples.inspected("exited")
    assert observe.container(answer).stop_timeout == 10
    answer["Config"]["StopTimeout"] = 0
    assert observe.container(answer).stop_timeout == 0


def test_a_container_is_reached_at_the_address_of_each_of_its_networks() -> None:
    inspected = samples.inspected("healthy")
    inspected["NetworkSettings"] = {
        "Networks": {
            "back": {"IPAddress": "172.18.0.3", "GlobalIPv6Address": "fd00::3"},
            "front": {"IPAddress": "", "GlobalIPv6Address": "fd01::3"},
            "none": {"IPAddress": "", "GlobalIPv6Address": ""},
        }
    }
    assert observe.container(inspected).addresses == ("172.18.0.3", "fd01::3")
