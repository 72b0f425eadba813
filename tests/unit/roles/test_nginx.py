# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The front's configuration: what follows from its settings, and that another one is another directory."""

from __future__ import annotations

import re

import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.nginx import Findings, findings
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.policy import Route
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.proxy import render as rendered

FILES = "{{ __nginx_files }}"
NAME = "{{ __nginx_configuration }}"


def configuration(render, **settings):
    return render("nginx", FILES, **settings)["nginx.conf"]


def test_another_configuration_has_another_name(render):
    assert re.fullmatch(r"nginx\.[0-9a-f]{12}", render("nginx", NAME))
    assert render("nginx", NAME) == render("nginx", NAME)
    assert render("nginx", NAME) != render("nginx", NAME, nginx_body_limit="1g")
    assert render("nginx", NAME) == render("nginx", NAME, nginx_upstream_server="elsewhere:1")


def test_no_host_name_is_turned_away(render):
    assert "listen 8080 default_server;" in configuration(render)


def test_streams_are_passed_on_as_they_come(render):
    text = configuration(render)
    for directive in ["proxy_buffering off;", "proxy_request_buffering off;", "proxy_http_version 1.1;"]:
        assert directive in text
    assert "gzip" not in text


def test_every_time_follows_the_longest_answer(render):
    text = configuration(render, nginx_stream_timeout=900)
    assert "proxy_read_timeout 920s;" in text
    assert "proxy_send_timeout 920s;" in text
    assert "worker_shutdown_timeout 930s;" in text


def test_idle_connections_are_kept_for_a_shorter_time_than_the_server_keeps_them(render):
    assert "keepalive_timeout 60s;" in configuration(render)
    assert "keepalive_timeout 4s;" in configuration(render, nginx_upstream_keepalive=4)


def test_another_server_has_an_upstream_of_its_own(render):
    text = configuration(render, nginx_upstream_name="app_server")
    assert "include upstreams/app_server.conf;" in text
    assert "proxy_pass http://app_server;" in text
    assert "letta;" not in text


def test_old_workers_serve_as_long_as_a_rollout_waits_for_them(render):
    assert "worker_shutdown_timeout 1230s;" in configuration(render, nginx_drain_timeout=1200)
    assert "worker_shutdown_timeout 630s;" in configuration(render, nginx_drain_timeout=0)


def test_who_stays_connected_keeps_no_worker_from_ending_where_that_is_asked_for(render):
    text = configuration(render, nginx_shutdown_timeout=10)
    assert "worker_shutdown_timeout 10s;" in text
    assert "proxy_read_timeout 620s;" in text


def test_a_rollout_switches_this_nginx_without_a_complaint(render):
    """By what `nginx -T` would print of it."""
    main = f"# configuration file /etc/nginx/nginx.conf:\n{configuration(render)}"
    included = "\n# configuration file /etc/nginx/upstreams/letta.conf:\n"
    assert findings(main + included, "nginx-1", "/etc/nginx/upstreams/letta.conf", drain_timeout=600) == Findings()


def test_the_first_upstream_file_is_what_a_rollout_writes_where_no_container_runs(render):
    first = render("nginx", "{{ lookup('ansible.builtin.template', 'upstream.conf.j2') }}")
    assert first == rendered(Route("nginx", "letta", 8283), "letta_server", [], settled=True)


def test_the_log_has_no_place_for_secrets(render):
    log_format = re.search(r"log_format access.*?;", configuration(render), re.DOTALL)[0]
    for variable in [
        "$request ",
        '"$request"',
        "$request_uri",
        "$args",
        "$query_string",
        "$http_authorization",
        "$http_referer",
        "$request_body",
    ]:
        assert variable not in log_format
    assert "error_log stderr crit;" in configuration(render)


@pytest.mark.parametrize("proxies", [[], ["10.0.0.0/8", "192.0.2.1"]])
def test_only_trusted_proxies_are_believed(render, proxies):
    text = configuration(render, nginx_trusted_proxies=proxies)
    assert re.findall(r"set_real_ip_from (\S+);", text) == proxies
    assert ("real_ip_header" in text) == bool(proxies)
    assert [network for network in proxies if f"{network} 1;" not in text] == []


COMPLAINTS = "{{ __nginx_complaints }}"


def test_the_defaults_and_other_sound_settings_are_fine(render):
    assert render("nginx", COMPLAINTS) == []
    proxies = ["10.0.0.1", "172.16.0.0/12", "::1", "fd00::/8"]
    assert render("nginx", COMPLAINTS, nginx_trusted_proxies=proxies, nginx_body_limit="0") == []


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("nginx_body_limit", "100 MB", "such as 100m"),
        ("nginx_trusted_proxies", ["10.0.0.1", "proxy.example.com"], "IP address or a network"),
        ("nginx_trusted_proxies", ["10.0.0.1; deny all"], "IP address or a network"),
        ("nginx_worker_processes", 0, "must be 1 or more"),
        ("nginx_drain_timeout", -1, "must be 0 or more"),
        ("nginx_shutdown_timeout", -1, "must be 0 or more"),
        ("nginx_upstream_keepalive", 0, "must be 1 or more"),
        ("nginx_upstream_name", "letta; server evil", "letters, digits"),
        ("nginx_upstream_server", "letta_server", "name:port"),
    ],
)
def test_a_bad_setting_is_one_clear_complaint(render, name, value, allowed):
    (complaint,) = render("nginx", COMPLAINTS, **{name: value})
    assert name in complaint
    assert allowed in complaint
