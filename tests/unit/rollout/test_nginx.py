# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nginx says, as recorded: `nginx -v -T` of 1.22.1 (Debian 12), 1.26.3 (Debian 13) and 1.30.6."""

from __future__ import annotations

import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import nginx

from . import samples

NEW = samples.text("nginx/1.30.6.dump")
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
        (samples.text("nginx/1.22.1.dump"), (1, 22, 1)),
        (samples.text("nginx/1.26.3.dump"), (1, 26, 3)),
        (NEW, (1, 30, 6)),
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
TOO_OLD = """nginx version: nginx/1.26.3
2026/11/22 20:48:12 [emerg] 364#364: invalid parameter "resolve" in /x/upstreams/web.conf:2
nginx: configuration file /x/nginx.conf test failed
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


def test_the_refusal_of_an_old_nginx_says_what_is_old() -> None:
    words = nginx.refusal(TOO_OLD)
    assert words.startswith('invalid parameter "resolve" in /x/upstreams/web.conf:2 (it is nginx 1.26.3: ')


def test_a_proxy_that_can_be_switched_is_fine() -> None:
    assert nginx.findings(NEW, "shop-nginx-1", FILE, drain_timeout=60) == nginx.Findings()


@pytest.mark.parametrize("dump", ["nginx/1.22.1.dump", "nginx/1.26.3.dump"])
def test_an_old_nginx_is_refused_by_its_version(dump: str) -> None:
    problems = nginx.findings(samples.text(dump), "shop-nginx-1", FILE, 60).problems
    version = dump[len("nginx/") : -len(".dump")]
    assert problems[0] == (
        f"shop-nginx-1 is nginx {version}, and x-rollout.proxy needs 1.27.3 or later; roll a newer image out first, "
        "without x-rollout.proxy"
    )


def test_a_file_that_nginx_does_not_read_is_refused() -> None:
    (problem,) = nginx.findings(NEW, "shop-nginx-1", "/etc/nginx/upstreams/api.conf", 60).problems
    assert "does not read /etc/nginx/upstreams/api.conf" in problem


def test_what_is_left_of_a_very_long_configuration_says_nothing_of_its_beginning() -> None:
    assert nginx.reads(NEW[NEW.index("# configuration file") :], "/etc/nginx/upstreams/api.conf")
    assert not nginx.reads(NEW, "/etc/nginx/upstreams/api.conf")


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
