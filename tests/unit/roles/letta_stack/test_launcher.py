# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the launcher does before Letta runs: read secrets, build the database's URI, keep secrets out of the log."""

from __future__ import annotations

import importlib.util
import io
import os
import ssl
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

LAUNCHER = Path(__file__).resolve().parents[4] / "roles" / "letta_stack" / "files" / "launcher.py"


@pytest.fixture(scope="module")
def launcher():
    spec = importlib.util.spec_from_file_location("launcher", LAUNCHER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_secret_is_named_after_its_file(launcher, tmp_path):
    (tmp_path / "OPENAI_API_KEY").write_text("sk-1", encoding="utf-8")
    (tmp_path / "LETTA_PG_PASSWORD").write_text("abc", encoding="utf-8")
    (tmp_path / "directory").mkdir()
    assert launcher.read_secrets(tmp_path) == {"LETTA_PG_PASSWORD": "abc", "OPENAI_API_KEY": "sk-1"}


def test_the_uri_has_the_scheme_and_port_that_letta_needs(launcher):
    parts = {"LETTA_PG_HOST": "letta_db", "LETTA_PG_PORT": "5432", "LETTA_PG_USER": "letta", "LETTA_PG_DB": "agents"}
    assert launcher.database_uri(parts, "pw1") == "postgresql://letta:pw1@letta_db:5432/agents"


def test_a_missing_part_is_named(launcher):
    with pytest.raises(KeyError, match="LETTA_PG_PORT"):
        launcher.database_uri({"LETTA_PG_HOST": "letta_db"}, "pw1")


@pytest.mark.parametrize(("mode", "tls"), [(None, None), ("disable", False)])
def test_migrations_go_without_tls_where_that_is_said(launcher, mode, tls):
    assert launcher.database_tls({"PGSSLMODE": mode} if mode else {}) is tls


def test_migrations_see_whose_certificate_it_is_only_when_told(launcher):
    require = launcher.database_tls({"PGSSLMODE": "require"})
    assert (require.verify_mode, require.check_hostname) == (ssl.CERT_NONE, False)
    verify = launcher.database_tls({"PGSSLMODE": "verify-full"})
    assert (verify.verify_mode, verify.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_the_authority_that_is_named_is_the_one_that_is_trusted(launcher, tmp_path):
    missing = tmp_path / "ca.pem"
    with pytest.raises(FileNotFoundError):
        launcher.database_tls({"PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(missing)})


def test_traces_go_to_signoz_with_its_key(launcher):
    assert launcher.signoz({}, {}) == {}
    made = launcher.signoz({"SIGNOZ_ENDPOINT": "https://ingest:443"}, {"SIGNOZ_INGESTION_KEY": "a key="})
    assert made == {
        "LETTA_OTEL_EXPORTER_OTLP_ENDPOINT": "https://ingest:443",
        "OTEL_EXPORTER_OTLP_HEADERS": "signoz-ingestion-key=a%20key%3D",
    }


@pytest.mark.parametrize(
    "writes",
    [
        ["password: s3cr3t/+\n"],
        ["pass", "word: s3c", "r3t/+", "\n"],
        ["quoted: s3cr3t%2F%2B\n"],
        ["twice s3cr3t/+ s3cr3t/+\nand s3cr3t/+ without an end"],
    ],
    ids=["whole", "in pieces", "as in a URL", "several"],
)
def test_no_secret_gets_through(launcher, writes):
    out = io.StringIO()
    stream = launcher.Redactor(out, launcher.hidden_forms(["s3cr3t/+", ""]))
    for text in writes:
        assert stream.write(text) == len(text)
    stream.flush()
    assert "s3c" not in out.getvalue()
    assert launcher.REDACTED in out.getvalue()
    assert out.getvalue().count("\n") == "".join(writes).count("\n")


def test_a_secret_within_another_leaves_nothing_behind(launcher):
    out = io.StringIO()
    stream = launcher.Redactor(out, launcher.hidden_forms(["abc", "abcdef"]))
    stream.write("abcdef\n")
    assert out.getvalue() == f"{launcher.REDACTED}\n"


def test_print_and_logging_work_through_it(launcher):
    out = io.StringIO()
    print("plain text", file=launcher.Redactor(out, ["hidden"]), flush=True)
    assert out.getvalue() == "plain text\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user, and root may read everything")
def test_other_processes_of_the_user_cannot_read_it():
    """A process that refuses to be read, and one of the same user that tries."""
    program = f"""
import importlib.util, os, subprocess, sys
spec = importlib.util.spec_from_file_location("launcher", {str(LAUNCHER)!r})
launcher = importlib.util.module_from_spec(spec)
spec.loader.exec_module(launcher)
os.setgroups([]); os.setgid(65534); os.setuid(65534)
os.environ["SECRET"] = "in memory"
if sys.argv[1] == "refusing":
    launcher.refuse_to_be_read()
else:
    import ctypes
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
code = subprocess.run(["cat", f"/proc/{{os.getpid()}}/environ"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
sys.exit(code.returncode)
"""
    results = [
        subprocess.run([sys.executable, "-c", program, how], cwd="/", check=False).returncode
        for how in ("refusing", "not")
    ]
    assert results == [1, 0]


@pytest.mark.parametrize("arguments", [[], ["serve"], ["server", "migrate"]])
def test_anything_but_its_commands_is_refused(arguments):
    result = subprocess.run([sys.executable, str(LAUNCHER), *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "usage: launcher.py {server|live|migrate|mend}" in result.stderr


def test_a_developers_credentials_are_read_as_an_editor_leaves_them(launcher, tmp_path):
    for name, text in {
        "OPENAI_API_KEY": "sk-1\n",
        "ANTHROPIC_API_KEY": "",
        "OPENAI_API_KEY~": "sk-0\n",
        ".OPENAI_API_KEY.swp": "x",
        "GROQ_API_KEY": "gsk-1\n",
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert launcher.read_credentials(tmp_path, {"GROQ_API_KEY"}) == {"OPENAI_API_KEY": "sk-1"}
    assert launcher.read_credentials(tmp_path / "nowhere", set()) == {}


@pytest.fixture
def mounted(launcher, tmp_path, monkeypatch):
    """Secrets and credentials as a container has them mounted."""
    monkeypatch.setattr(launcher, "SECRETS", tmp_path / "secrets")
    monkeypatch.setattr(launcher, "CREDENTIALS", tmp_path / "credentials")
    for path, text in {
        "secrets/LETTA_PG_PASSWORD": "pw1",
        "secrets/LETTA_SERVER_PASSWORD": "server",
        "credentials/OPENAI_API_KEY": "sk-1\n",
        "credentials/LETTA_SERVER_PASSWORD": "another\n",
        "credentials/LETTA_PG_URI": "postgresql://elsewhere\n",
        "credentials/PATH": "/tmp\n",
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")


def test_credentials_take_the_place_of_nothing_that_the_stack_sets(launcher, mounted):
    environment = {
        "LETTA_PG_HOST": "letta_db",
        "LETTA_PG_PORT": "5432",
        "LETTA_PG_USER": "letta",
        "LETTA_PG_DB": "letta",
        "PATH": "/usr/bin",
    }
    assert launcher.secrets_of(environment) == {
        "OPENAI_API_KEY": "sk-1",
        "LETTA_SERVER_PASSWORD": "server",
        "LETTA_PG_URI": "postgresql://letta:pw1@letta_db:5432/letta",
    }


@pytest.mark.parametrize(("url", "mended"), [("http://llm:8000", [False]), (None, [])])
def test_rows_of_vllm_are_mended_by_the_server_s_own_settings(launcher, monkeypatch, url, mended):
    done = []
    monkeypatch.setattr(launcher, "prepare", lambda: monkeypatch.setenv("PGSSLMODE", "disable"))
    monkeypatch.setitem(sys.modules, "mend_providers", SimpleNamespace(main=done.append))
    if url:
        monkeypatch.setenv("VLLM_API_BASE", url)
    launcher.main(["mend"])
    assert done == mended
