# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start Letta's server or its migrations with secrets that come as files: ``launcher.py server | migrate``.

Letta takes every setting, secrets too, from its environment, prints some of them, and hands its whole environment to the
code of its tools. So this program

* reads each file of /run/secrets as the variable that the file is named after, and makes LETTA_PG_URI from its parts;
* keeps the values out of everything that is printed;
* takes the variables away again as soon as Letta's settings hold their values, before a request is served;
* makes the process undumpable, so that tools, which run as the same user, cannot read its memory.

It belongs to the stack, not to an image, and runs in any image that holds Letta's virtual environment and, to migrate, its
alembic.ini in the working directory.
"""

from __future__ import annotations

import ctypes
import io
import os
import sys
from pathlib import Path
from urllib.parse import quote

SECRETS = Path("/run/secrets")
PASSWORD = "LETTA_PG_PASSWORD"
URI = "LETTA_PG_URI"
PORT = 8283
REDACTED = "[redacted]"

_PR_SET_DUMPABLE = 4


def read_secrets(directory: Path) -> dict[str, str]:
    """Return the secrets in a directory by the names of their files."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(directory.iterdir()) if path.is_file()}


def database_uri(environment: dict[str, str], password: str) -> str:
    """Return the URI of the database that LETTA_PG_HOST, _PORT, _USER and _DB describe."""
    host, port, user, database = (environment[f"LETTA_PG_{part}"] for part in ("HOST", "PORT", "USER", "DB"))
    return f"postgresql://{user}:{password}@{host}:{port}/{database}"


def hidden_forms(secrets: dict[str, str]) -> list[str]:
    """Return all that a secret may look like in a message, the longest first, so that no part of one stays behind."""
    values = {value for value in secrets.values() if value}
    return sorted(values | {quote(value, safe="") for value in values}, key=lambda form: (-len(form), form))


class Redactor(io.TextIOBase):
    """A text stream that passes on what is written to it, a line at a time, without the secrets."""

    def __init__(self, stream: io.TextIOBase, hidden: list[str]) -> None:
        """Stand in front of a stream."""
        self._stream = stream
        self._hidden = hidden
        self._pending = ""

    @property
    def encoding(self) -> str:
        """The encoding of the stream behind."""
        return self._stream.encoding

    def writable(self) -> bool:
        """Tell the io module what this is for."""
        return True

    def fileno(self) -> int:
        """Return the descriptor of the stream behind, for those who write to it without Python (faulthandler)."""
        return self._stream.fileno()

    def isatty(self) -> bool:
        """Say what the stream behind says."""
        return self._stream.isatty()

    def write(self, text: str) -> int:
        """Pass whole lines on and keep the rest, in which a secret may be half written."""
        lines, newline, rest = (self._pending + text).rpartition("\n")
        self._pending = rest
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


def serve(secret_names: list[str]) -> None:
    """Run the server. The import reads every setting and makes the application; what comes after needs no variable."""
    from letta.server.rest_api import app

    for name in secret_names:
        os.environ.pop(name, None)
    app.start_server(host="0.0.0.0", port=PORT)


def migrate(_secret_names: list[str]) -> None:
    """Bring the database to the newest schema that the image knows."""
    from alembic.config import main as alembic

    alembic(argv=["upgrade", "head"], prog="alembic")


_COMMANDS = {"server": serve, "migrate": migrate}


def main(arguments: list[str]) -> None:
    """Prepare the environment and become what the one argument names."""
    if len(arguments) != 1 or arguments[0] not in _COMMANDS:
        sys.exit(f"usage: launcher.py {{{'|'.join(_COMMANDS)}}}")
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")
    secrets = read_secrets(SECRETS)
    hidden = hidden_forms(secrets)
    sys.stdout = Redactor(sys.stdout, hidden)
    sys.stderr = Redactor(sys.stderr, hidden)
    secrets[URI] = database_uri(dict(os.environ), secrets.pop(PASSWORD))
    os.environ.update(secrets)
    _COMMANDS[arguments[0]](list(secrets))


if __name__ == "__main__":
    main(sys.argv[1:])
