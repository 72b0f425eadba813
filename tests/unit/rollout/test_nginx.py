# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nginx says, as recorded of 1.22.1 (Debian 12), 1.26.3 (Debian 13) and 1.30.6."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import nginx

from . import samples

NEW = samples.text("nginx/1.30.6.configuration")
FILE = "/etc/nginx/upstreams/web.conf"

PROCESSES = {
    22493: "nginx: master process nginx -g daemon off;",
    22540: "nginx: worker process",
    22541: "nginx: worker process is shutting down",
    22600: "nginx -e stderr -s reload",
}


def test_workers_are_told_apart() -> None:
    assert nginx.workers(PROCESSES) == nginx.Workers(frozenset({22540}), frozenset({22541}))


@pytest.mark.parametrize(
    ("started", "command"),
    [
        ("nginx -g daemon off;", ("nginx", "-g", "daemon off;")),
        ("nginx", ("nginx",)),
        ("nginx -e stderr -g daemon off;", ("nginx", "-g", "daemon off;")),
        (
            "/usr/sbin/nginx-debug -c /srv/n.conf -g daemon off; pid /x.pid; -p /srv",
            ("/usr/sbin/nginx-debug", "-c", "/srv/n.conf", "-g", "daemon off; pid /x.pid;", "-p", "/srv"),
        ),
        ("nginx -c", ("nginx", "-c", "")),
    ],
)
def test_nginx_is_reached_with_the_options_that_it_was_started_with(started: str, command: tuple[str, ...]) -> None:
    processes = {1: "/sbin/docker-init -- nginx -g daemon off;", 7: f"nginx: master process {started}"}
    assert nginx.command(processes) == (*command, "-e", "stderr")


def test_another_program_is_no_nginx() -> None:
    assert nginx.command({1: "haproxy -f /etc/haproxy.cfg", 2: "tail -f /var/log/nginx: master process"}) is None


@pytest.mark.parametrize(
    ("output", "version"),
    [
        (samples.text("nginx/1.22.1.version"), (1, 22, 1)),
        (samples.text("nginx/1.26.3.version"), (1, 26, 3)),
        (samples.text("nginx/1.30.6.version"), (1, 30, 6)),
        ("nginx version: nginx/1.18.0 (Ubuntu)", (1, 18, 0)),
        # Their numbers are no release of nginx that could be compared.
        ("nginx version: openresty/1.27.1.2", None),
        ("nginx version: nginx/1.25.3 (nginx-plus-r31)", None),
        ("", None),
    ],
)
def test_the_version_is_read(output: str, version: tuple[int, ...] | None) -> None:
    assert nginx.version(output) == version


UNKNOWN = """nginx version: nginx/1.30.6
2026/11/22 20:41:35 [emerg] 1#1: unknown directive "serveur" in /etc/nginx/upstreams/app.conf:1
nginx: configuration file /etc/nginx/nginx.conf test failed
"""


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (UNKNOWN, 'unknown directive "serveur" in /etc/nginx/upstreams/app.conf:1'),
        ('nginx: [emerg] host not found in upstream "a:80"\n', 'host not found in upstream "a:80"'),
        ("OCI runtime exec failed: no such file\n", "OCI runtime exec failed: no such file"),
        ("", "it said nothing"),
    ],
)
def test_a_refusal_is_given_in_its_own_words(output: str, words: str) -> None:
    assert nginx.refusal(output) == words


@pytest.mark.parametrize("number", ["1.22.1", "1.26.3"])
def test_an_old_nginx_is_named_with_what_to_do(number: str) -> None:
    assert nginx.too_old("shop-nginx-1", samples.text(f"nginx/{number}.version")) == (
        f"shop-nginx-1 is nginx {number}, and x-rollout.proxy needs 1.27.3 or later; roll a newer image out first, "
        "without x-rollout.proxy"
    )


def test_a_new_nginx_and_one_of_another_make_are_not_too_old() -> None:
    assert nginx.too_old("shop-nginx-1", samples.text("nginx/1.30.6.version")) == ""
    assert nginx.too_old("shop-nginx-1", "nginx version: openresty/1.25.3.1\n") == ""


def test_a_proxy_that_can_be_switched_is_fine() -> None:
    assert nginx.findings(NEW, "shop-nginx-1", FILE, drain_timeout=60) == nginx.Findings()


def test_a_file_that_nginx_does_not_read_is_refused() -> None:
    (problem,) = nginx.findings(NEW, "shop-nginx-1", "/etc/nginx/upstreams/api.conf", 60).problems
    assert "does not read /etc/nginx/upstreams/api.conf" in problem


def test_the_beginning_of_a_very_long_configuration_may_be_lost() -> None:
    assert nginx.configuration(NEW) == NEW
    assert nginx.configuration(NEW[10:]) is None
    assert nginx.configuration("") is None


@given(at=st.integers(0, len(NEW)))
def test_a_warning_in_the_middle_of_the_configuration_is_not_of_it(at: int) -> None:
    warning = '2026/11/22 20:41:35 [warn] 1#1: the "user" directive makes sense only if the master runs as root\n'
    assert nginx.configuration(NEW[:at] + warning + NEW[at:]) == NEW


def test_what_looking_names_up_again_needs_is_named() -> None:
    without = NEW.replace("zone web 256k;", "# zone web 256k;").replace("resolver 127", "# resolver 127")
    problems = nginx.findings(without, "shop-nginx-1", FILE, 60).problems
    assert [("zone" in problem, "resolver" in problem) for problem in problems] == [(True, False), (False, True)]


@pytest.mark.parametrize("include", ["upstreams/*.conf", "/etc/nginx/upstreams/web.conf", '"upstreams/web.conf"'])
def test_the_including_block_is_found_however_it_includes(include: str) -> None:
    text = NEW.replace("zone web 256k;", "").replace("include upstreams/web.conf", f"include {include}")
    (problem,) = nginx.findings(text, "shop-nginx-1", FILE, 60).problems
    assert "no zone" in problem


def test_lost_requests_are_warned_of() -> None:
    (warning,) = nginx.findings(NEW.replace("keepalive_min_timeout 2s;", ""), "shop-nginx-1", FILE, 60).warnings
    assert "no keepalive_min_timeout" in warning


@pytest.mark.parametrize(("limit", "warned"), [("60s", True), ("2m", False), ("0", False), ("1h", False)])
def test_answers_that_nginx_cuts_off_before_their_time_are_warned_of(limit: str, warned: bool) -> None:
    text = NEW.replace("worker_shutdown_timeout 60s;", f"worker_shutdown_timeout {limit};")
    assert [limit in each for each in nginx.findings(text, "shop-nginx-1", FILE, 90).warnings] == [True] * warned
