# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start Letta's server or its migrations with secrets that come as files: ``launcher.py server | live | migrate``.

Letta takes every setting, secrets too, from its environment, prints some of them, and hands its whole environment to
the code of its tools. So this program

* reads each file of /run/secrets as the variable that the file is named after, and makes LETTA_PG_URI from its parts;
* keeps the values out of everything that is printed;
* has migrations follow PGSSLMODE and PGSSLROOTCERT, as the server's driver does by itself;
* sends traces to SigNoz, for which Letta itself would need a collector beside it;
* takes the variables away again as soon as Letta's settings hold their values, before a request is served;
* makes the process undumpable, so that tools, which run as the same user, can read neither its memory nor what the
  kernel tells of it.

``live`` is the server of a developer: uvicorn watches the source and starts the server anew when it changes. What
watches never has a secret; each new server reads them again, and credentials besides, which the developer keeps.

``launcher.py mend`` is for a server that serves on after another one, which failed, had started: Letta's rows of vLLM
are brought in line with what this one is told of, as at each start.

It belongs to the stack, not to an image, and runs in any image that has Letta's virtual environment on its PATH and, to
migrate, Letta's alembic.ini in the working directory.
"""

from __future__ import annotations

import ctypes
import importlib
import io
import os
import re
import ssl
import sys
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO
from urllib.parse import quote

SECRETS = Path("/run/secrets")
CREDENTIALS = Path("/run/credentials")
SOURCE = Path("/app/letta")
REDACTED = "[redacted]"

# <linux/prctl.h>
_PR_SET_DUMPABLE = 4
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*\Z")


def read_secrets(directory: Path) -> dict[str, str]:
    """Return the secrets in a directory by the names of their files."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(directory.iterdir()) if path.is_file()}


def read_credentials(directory: Path, taken: Collection[str]) -> dict[str, str]:
    """Return what a developer keeps in a directory, by the names of the files, without what is set in another way.

    An editor ends a file with a newline, and leaves files behind whose names are those of no variable.
    """
    if not directory.is_dir():
        return {}
    found = {name: value.rstrip("\n") for name, value in read_secrets(directory).items() if _VARIABLE.match(name)}
    return {name: value for name, value in found.items() if value and name not in taken}


def database_uri(environment: Mapping[str, str], password: str) -> str:
    """Return the URI of the database that LETTA_PG_HOST, _PORT, _USER and _DB describe."""
    host, port, user, database = (environment[f"LETTA_PG_{part}"] for part in ("HOST", "PORT", "USER", "DB"))
    return f"postgresql://{user}:{password}@{host}:{port}/{database}"


def database_tls(environment: Mapping[str, str]) -> ssl.SSLContext | bool | None:
    """Return what pg8000, which migrations connect with, takes for PGSSLMODE and PGSSLROOTCERT, which it does not read.

    None leaves it to the server whether there is TLS; False is none at all.
    """
    mode = environment.get("PGSSLMODE")
    if mode is None:
        return None
    if mode == "disable":
        return False
    context = ssl.create_default_context(cafile=environment.get("PGSSLROOTCERT"))
    if mode != "verify-full":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def signoz(environment: Mapping[str, str], secrets: Mapping[str, str]) -> dict[str, str]:
    """Return the variables by which OpenTelemetry's exporters send to SigNoz itself; the second one is a secret."""
    if "SIGNOZ_INGESTION_KEY" not in secrets:
        return {}
    return {
        "LETTA_OTEL_EXPORTER_OTLP_ENDPOINT": environment["SIGNOZ_ENDPOINT"],
        "OTEL_EXPORTER_OTLP_HEADERS": f"signoz-ingestion-key={quote(secrets['SIGNOZ_INGESTION_KEY'], safe='')}",
    }


def hidden_forms(values: Iterable[str]) -> list[str]:
    """Return all that secrets may look like in a message, the longest first, so that no part of one stays behind."""
    forms = {form for value in values if value for form in (value, quote(value, safe=""))}
    return sorted(forms, key=lambda form: (-len(form), form))


class Redactor(io.TextIOBase):
    """A text stream that passes on what is written to it, a line at a time, without the secrets."""

    def __init__(self, stream: TextIO, hidden: list[str]) -> None:
        self._stream = stream
        self._hidden = hidden
        self._pending = ""

    def writable(self) -> bool:
        """Tell the io module what this is for."""
        return True

    def fileno(self) -> int:
        """Return the descriptor of the stream behind, for those who write to it from C, such as faulthandler."""
        return self._stream.fileno()

    def isatty(self) -> bool:
        """Say what the stream behind says."""
        return self._stream.isatty()

    def write(self, text: str) -> int:
        """Pass whole lines on and keep the rest, in which a secret may be half written."""
        lines, newline, self._pending = (self._pending + text).rpartition("\n")
        if newline:
            self._pass_on(lines + newline)
        return len(text)

    def flush(self) -> None:
        """Pass everything on."""
        if self._pending:
            self._pass_on(self._pending)
            self._pending = ""
        self._stream.flush()

    def _pass_on(self, text: str) -> None:
        for form in self._hidden:
            text = text.replace(form, REDACTED)
        self._stream.write(text)


def refuse_to_be_read() -> None:
    """Keep other processes of the same user from this one's memory, environment and open files."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")


def secrets_of(environment: Mapping[str, str]) -> dict[str, str]:
    """Return every secret that there is, by the variable that Letta reads it from; the environment has the rest."""
    secrets = read_secrets(SECRETS)
    credentials = read_credentials(CREDENTIALS, {*secrets, *environment, "LETTA_PG_URI"})
    uri = database_uri(environment, secrets.pop("LETTA_PG_PASSWORD"))
    secrets.update(signoz(environment, secrets))
    return {**credentials, **secrets, "LETTA_PG_URI": uri}


def prepare() -> None:
    """Give this process its secrets, and keep them from whatever it prints and from other processes."""
    refuse_to_be_read()
    secrets = secrets_of(os.environ)
    hidden = hidden_forms([*secrets.values(), *read_secrets(SECRETS).values()])
    sys.stdout = Redactor(sys.stdout, hidden)
    sys.stderr = Redactor(sys.stderr, hidden)
    os.environ.update(secrets)
    _given.update(secrets)


def mend_providers() -> None:
    """Bring Letta's rows of vLLM in line with VLLM_API_BASE, where there is one."""
    if "VLLM_API_BASE" in os.environ:
        # It lies beside this file, where Python looks first.
        importlib.import_module("mend_providers").main(database_tls(os.environ))


def load() -> ModuleType:
    """Import the server. That reads every setting and makes the application; after it the secrets can go."""
    mend_providers()
    module = importlib.import_module("letta.server.rest_api.app")
    for name in _given:
        os.environ.pop(name, None)
    return module


def serve() -> None:
    """Run the server."""
    prepare()
    load().start_server(host=os.environ["HOST"], port=int(os.environ["PORT"]))


def live() -> None:
    """Run the server, and another one in its place whenever a Python file of the source changes.

    Letta's own switch for that, LETTA_UVICORN_RELOAD, would have this process import the server, too, and each server
    inherit the secrets from its environment.
    """
    refuse_to_be_read()
    importlib.import_module("uvicorn").run(
        # What multiprocessing calls this module in the processes that it starts.
        "__mp_main__:application",
        factory=True,
        host=os.environ["HOST"],
        port=int(os.environ["PORT"]),
        reload=True,
        reload_dirs=[str(SOURCE)],
        reload_delay=0.5,
        timeout_keep_alive=int(os.environ["LETTA_UVICORN_TIMEOUT_KEEP_ALIVE"]),
        # Who changes the source does not wait for the answers of the code of before.
        timeout_graceful_shutdown=5,
        access_log=False,
        # Handlers of uvicorn's own would keep the streams of before `prepare`.
        log_config=None,
    )


def application() -> object:
    """Return the application; uvicorn asks for it in each process that it starts to serve."""
    prepare()
    return load().app


def migrate() -> None:
    """Bring the database to the newest schema that the image knows."""
    prepare()
    tls = database_tls(os.environ)

    def connect(dialect: Any, _record: object, _arguments: object, options: dict[str, Any]) -> None:
        if dialect.driver == "pg8000":
            options["ssl_context"] = tls

    importlib.import_module("sqlalchemy.event").listen(
        importlib.import_module("sqlalchemy.engine").Engine, "do_connect", connect
    )
    importlib.import_module("alembic.config").main(argv=["upgrade", "head"], prog="alembic")


def mend() -> None:
    """Bring Letta's rows in line while the server of this container runs."""
    prepare()
    mend_providers()


COMMANDS = {"server": serve, "live": live, "migrate": migrate, "mend": mend}
# The variables that `prepare` set.
_given: set[str] = set()


def main(arguments: list[str]) -> None:
    """Run what the one argument names."""
    if len(arguments) != 1 or arguments[0] not in COMMANDS:
        sys.exit(f"usage: launcher.py {{{'|'.join(COMMANDS)}}}")
    COMMANDS[arguments[0]]()


if __name__ == "__main__":
    main(sys.argv[1:])
