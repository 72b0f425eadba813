# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator reads of a failure, and what nobody reads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import evidence
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.evidence import Failure

from . import samples


def plainly(text: str) -> str:
    return text


def test_a_dead_container_leaves_its_exit_code_and_last_words() -> None:
    failure = evidence.of_container(
        samples.container("exited", service="web"),
        "exited",
        "exited with code 7",
        ["starting", "no route", ""],
        plainly,
    )
    assert (failure.service, failure.container, failure.exit_code) == ("web", "trial-exited", 7)
    assert failure.sentence() == "web: trial-exited exited with code 7 (last line of its log: no route)"


def test_an_unhealthy_one_leaves_what_its_probe_said_and_no_exit_code() -> None:
    failure = evidence.of_container(
        samples.container("unhealthy", service="web"), "unhealthy", "was still unhealthy", ["listening"], plainly
    )
    assert failure.exit_code is None
    assert [probe["exit_code"] for probe in failure.health_log] == [1, 1]
    assert failure.sentence() == (
        "web: trial-unhealthy was still unhealthy (last health probe: exit code 1, connection refused)"
    )


def test_a_crash_loop_leaves_its_count() -> None:
    failure = evidence.of_container(samples.container("restarting"), "restarting", "keeps restarting", [], plainly)
    assert failure.restart_count is not None
    assert failure.restart_count > 0


@pytest.mark.parametrize(
    ("failure", "sentence"),
    [
        (Failure("web", "", "create", "no such network"), "web: no such network"),
        (Failure("", "", "interrupted", "interrupted by SIGTERM"), "interrupted by SIGTERM"),
        (
            Failure("web", "web-1", "exited", "died", logs=("x" * 500,)),
            f"web: web-1 died (last line of its log: {'x' * 200})",
        ),
        (
            Failure("web", "web-1", "timeout", "was starting", health_log=({"exit_code": -1, "output": " \n"},)),
            "web: web-1 was starting (last health probe: exit code -1)",
        ),
    ],
)
def test_a_sentence_names_what_there_is_to_name(failure: Failure, sentence: str) -> None:
    assert failure.sentence() == sentence


def test_secrets_are_taken_out_of_everything() -> None:
    redact = evidence.redactor(["connection"])
    seen = samples.container("unhealthy", service="web")
    failure = evidence.of_container(seen, "unhealthy", "connection lost", ["lost connection"], redact)
    assert "connection" not in str(failure)
    assert failure.logs == ("lost [redacted]",)


def test_the_line_end_of_a_secret_file_is_no_part_of_the_secret() -> None:
    assert evidence.redactor(["hunter22\n"])("password hunter22!") == "password [redacted]!"


def test_a_key_of_several_lines_is_taken_out_line_by_line() -> None:
    redact = evidence.redactor(["-----BEGIN KEY-----\nMIIEvQIBADAN\nBgkqhkiG9w0B\n-----END KEY-----\n"])
    assert redact("read MIIEvQIBADAN") == "read [redacted]"


def test_a_secret_that_contains_another_one_goes_whole() -> None:
    assert evidence.redactor(["hunter22", "hunter22-and-more"])("x hunter22-and-more") == "x [redacted]"


def test_short_values_would_blacken_the_log_and_stay() -> None:
    assert evidence.redactor(["true", "", "12345"])("true story 12345") == "true story 12345"


@given(st.lists(st.text("abcXYZ019-", min_size=6, max_size=12), max_size=4), st.text("abcXYZ019- \n", max_size=40))
def test_no_secret_survives(secrets: list[str], around: str) -> None:
    redacted = evidence.redactor(secrets)(around + "".join(secrets) + around)
    assert not [secret for secret in secrets if secret.strip() in redacted.replace("[redacted]", "\0")]


def test_variables_whose_names_say_so_are_secret() -> None:
    pairs = [
        "DB_PASSWORD=hunter22",
        "OPENAI_API_KEY=sk-1",
        "SENTRY_DSN=https://x",
        "auth_token=a=b",
        "LOG=info",
        "KEYLESS",
    ]
    assert evidence.secret_values(pairs) == ["hunter22", "sk-1", "https://x", "a=b", ""]


def test_the_password_in_a_url_is_secret_and_the_url_is_not() -> None:
    pairs = ["PG_URI=postgresql://letta:hunter22@db:5432/letta", "CACHE=redis://:s3cret99@redis", "SITE=http://a:80/@x"]
    assert evidence.secret_values(pairs) == ["hunter22", "s3cret99"]
