# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command lines that Compose gets, and what is made of its answers (recorded from 2.40.3)."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.compose_cli import ComposeCli
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.errors import ComposeError

PROJECT = "docker compose --ansi never --progress plain --project-directory /srv/shop"
HASHES = (
    "db 193462bb8e6d86fc3df8cd7f9a053f8cad51d96ab04b41aba49356c382988c6d\n"
    "web 1799a38f5274698e3b649173a586928bdc911ca169feddab21bb21c3e21c3c91\n"
)


class Recorder:
    """Stands where the module's run_command stands: notes what is to be run, and what lies in the file it names."""

    def __init__(self, rc: int = 0, out: str = "", err: str = "") -> None:
        self.answer = rc, out, err
        self.commands: list[str] = []
        self.files: list[tuple[str, int]] = []

    def __call__(self, argv: list[str]) -> tuple[int, str, str]:
        self.commands.append(" ".join(argv))
        for path in (Path(part) for part in argv if part.startswith("/") and part.endswith(".yaml")):
            self.files.append((path.read_text("utf-8"), path.stat().st_mode & 0o777))
        return self.answer


def compose(run: Recorder, scratch: str = "/nowhere", name: str = "", files: tuple[str, ...] = ()) -> ComposeCli:
    return ComposeCli(run, "docker", "/srv/shop", name, files, (), (), scratch)


def test_the_project_is_named_by_what_was_given_and_by_nothing_else() -> None:
    run = Recorder(out="name: shop")
    assert compose(run).config() == "name: shop"
    ComposeCli(run, "docker", "/srv/shop", "shop", ("a.yaml", "b.yaml"), ("e.env",), ("gpu",), "/nowhere").config()
    assert run.commands == [
        f"{PROJECT} config",
        f"{PROJECT} --project-name shop --file a.yaml --file b.yaml --env-file e.env --profile gpu config",
    ]


def test_create_names_the_count_of_the_service_and_of_each_dependency_and_changes_nothing_else() -> None:
    run = Recorder()
    compose(run).create("web", {"db": 2, "web": 3})
    assert run.commands == [
        f"{PROJECT} create --no-recreate --no-build --pull never --scale db=2 --scale web=3 web",
    ]


def test_pull_names_its_services() -> None:
    run = Recorder()
    compose(run).pull(["db", "web"])
    assert run.commands == [f"{PROJECT} pull --quiet db web"]


def test_services_of_inactive_profiles_are_declared_too() -> None:
    run = Recorder(out="db\nweb\ndebugger\n")
    assert compose(run).declared_services() == {"db", "web", "debugger"}
    assert run.commands == [f"{PROJECT} --profile * config --services"]


def test_hashes_are_taken_from_the_normalised_file_which_nobody_else_can_read_and_which_does_not_stay(
    tmp_path: Path,
) -> None:
    run = Recorder(out=HASHES)
    hashes = compose(run, str(tmp_path)).hashes("services: {web: {}}\n")
    assert {name: digest[:6] for name, digest in hashes.items()} == {"db": "193462", "web": "1799a3"}
    assert run.commands == [f"{PROJECT} --file {tmp_path}/normalised.yaml config --hash *"]
    assert run.files == [("services: {web: {}}\n", 0o600)]
    assert not list(tmp_path.iterdir())


def test_variables_are_asked_of_compose_itself_and_those_that_are_not_set_are_left_out(tmp_path: Path) -> None:
    said = 'services: {}\nx-set: {A: set, B: "", C: set}\nx-value:\n  A: "1$$2\\n"\n  B: ""\n  C: ""\n'
    run = Recorder(out=said)
    assert compose(run, str(tmp_path)).variables(["A", "B", "C"]) == {"A": "1$2\n", "C": ""}
    assert run.commands == [f"{PROJECT} --file {tmp_path}/variables.yaml config"]
    ((asked, mode),) = run.files
    assert "x-set:\n  A: ${A+set}\n" in asked
    assert "x-value:\n  A: ${A-}\n" in asked
    assert mode == 0o600
    assert not list(tmp_path.iterdir())


def test_where_there_is_no_variable_compose_is_not_asked() -> None:
    run = Recorder()
    assert compose(run).variables([]) == {}
    assert run.commands == []


def test_hashes_of_what_stands_there_already_are_taken_without_adding_to_it(tmp_path: Path) -> None:
    run = Recorder(out=HASHES)
    compose(run, str(tmp_path)).hashes("services: {web: {}}\n", as_it_stands=True)
    (command,) = run.commands
    assert command.endswith("normalised.yaml config --no-normalize --no-consistency --hash *")


def test_build_names_its_service() -> None:
    run = Recorder()
    compose(run).build("web")
    assert run.commands == [f"{PROJECT} build web"]


def test_the_normalised_file_does_not_stay_after_a_failure_either(tmp_path: Path) -> None:
    with pytest.raises(ComposeError):
        compose(Recorder(rc=1), str(tmp_path)).hashes("services: {}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("err", "words"),
    [
        (
            (
                ' a Pulling \n a Error Get "https://r.example/v2/": no such host\n'
                'Error response from daemon: Get "https://r.example/v2/": no such host\n'
            ),
            'Error response from daemon: Get "https://r.example/v2/": no such host',
        ),
        (
            "validating /srv/shop/compose.yaml: services.a additional properties 'imag' not allowed\n",
            "validating /srv/shop/compose.yaml: services.a additional properties 'imag' not allowed",
        ),
        ("open /srv/shop/nofile.yaml: no such file or directory\n", "open /srv/shop/nofile.yaml: no such file"),
        ("", "no output"),
    ],
)
def test_a_failure_carries_compose_s_own_last_words(err: str, words: str) -> None:
    with pytest.raises(ComposeError) as failure:
        compose(Recorder(rc=1, err=err)).config()
    assert str(failure.value).startswith(f"`docker compose config` failed: {words}")


CLASSIC = """Sending build context to Docker daemon     444B
Step 1/2 : FROM web:1
 ---> 8739846e9c3f
Step 2/2 : RUN python -m compileall -q /app
 ---> Running in c5c9b788398d
*** Error compiling '/app/health.py'...
  File "/app/health.py", line 3
SyntaxError: '(' was never closed
"""
BUILDKIT = """#5 [web 2/2] RUN python -m compileall -q /app
#5 0.230 *** Error compiling '/app/health.py'...
#5 0.234   File "/app/health.py", line 3
#5 0.234 SyntaxError: '(' was never closed
#5 ERROR: executor failed running [/bin/sh -c python -m compileall -q /app]: exit code: 1
------
 > [web 2/2] RUN python -m compileall -q /app:
0.230 *** Error compiling '/app/health.py'...
0.234   File "/app/health.py", line 3
0.234 SyntaxError: '(' was never closed
------
"""


@pytest.mark.parametrize("out", [CLASSIC, BUILDKIT], ids=["classic", "buildkit"])
def test_a_failed_build_tells_what_its_step_said(out: str) -> None:
    with pytest.raises(ComposeError) as failure:
        compose(Recorder(rc=1, out=out, err="failed to solve: exit code: 1\n")).build("web")
    assert str(failure.value) == (
        "`docker compose build` failed: failed to solve: exit code: 1; the step said: *** Error compiling"
        " '/app/health.py'... | File \"/app/health.py\", line 3 | SyntaxError: '(' was never closed"
    )


def test_a_build_that_fails_before_a_step_says_nothing_of_one() -> None:
    with pytest.raises(ComposeError) as failure:
        compose(Recorder(rc=1, out="#0 building\n", err="failed to read dockerfile\n")).build("web")
    assert str(failure.value) == "`docker compose build` failed: failed to read dockerfile"


@pytest.mark.parametrize(
    ("said", "version"),
    [("2.40.3", (2, 40, 3)), ("v2.26.1-4\n", (2, 26, 1)), ("5.0", (5, 0, 0)), ("2.24.0", (2, 24, 0))],
)
def test_versions(said: str, version: tuple[int, ...]) -> None:
    assert compose(Recorder(out=said)).version() == version


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((0, "2.23.3", ""), r"2\.23\.3 is too old: at least 2\.24"),
        ((0, "1.29.2", ""), "is too old"),
        ((1, "", "docker: 'compose' is not a docker command."), "is not a docker command.*install Compose v2"),
        ((0, "dev", ""), "install Compose v2"),
    ],
)
def test_a_compose_that_is_missing_or_too_old_is_refused(answer: tuple[int, str, str], message: str) -> None:
    with pytest.raises(ComposeError, match=message):
        compose(Recorder(*answer)).version()
