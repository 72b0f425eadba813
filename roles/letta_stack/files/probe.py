# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask a PostgreSQL and a Redis that somebody else runs whether they will do for Letta, with the server's own driver.

Nothing is written there. What is wrong is printed as JSON, each problem a sentence that begins with its
setting: ``{"problems": [...], "schema": whether the database holds Letta's tables}``.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import socket
import ssl
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

# Seconds.
PATIENCE = 10.0
DATABASE = "letta_stack_external_db"
REDIS = "letta_stack_external_redis"

FACTS = """
SELECT current_setting('server_version_num')::int AS version,
       pg_is_in_recovery() OR current_setting('transaction_read_only')::bool AS read_only,
       EXISTS (SELECT FROM pg_extension WHERE extname = 'vector') AS vector,
       EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector') AS vector_available,
       current_schema() AS schema,
       has_schema_privilege(current_schema(), 'CREATE') AS may_create,
       to_regclass('alembic_version') IS NOT NULL AS letta,
       (SELECT pg_get_userbyid(relowner) FROM pg_class
        WHERE oid = to_regclass('alembic_version') AND NOT pg_has_role(relowner, 'USAGE')) AS owner
"""


def unreachable(setting: str, host: str, port: int, name: str) -> str:
    """Return why nothing can be asked at an address, empty when something listens there."""
    try:
        socket.create_connection((host, port), PATIENCE).close()
    except socket.gaierror as error:
        return f"{setting}.host: {host} has no address on this host ({error.strerror})"
    except OSError as error:
        return f"{setting}: no {name} can be reached at {host}:{port} ({error.strerror or error})"
    return ""


def misfits(settings: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a database that answers."""
    user, database = settings["user"], settings["database"]
    problems = []
    if facts["version"] // 10000 < settings["minimum"]:
        problems.append(
            f"{DATABASE}: PostgreSQL {facts['version'] // 10000} is older than {settings['minimum']}, which Letta needs"
        )
    if facts["read_only"]:
        problems.append(f"{DATABASE}: {settings['host']} takes no writes; name the primary and not a standby")
    if not facts["vector"] and facts["vector_available"]:
        problems.append(
            f"{DATABASE}: the extension vector is not in the database {database}; have its superuser run there: CREATE "
            "EXTENSION vector"
        )
    elif not facts["vector"]:
        problems.append(f"{DATABASE}: pgvector is not installed on that server, and Letta cannot do without")
    if facts["schema"] is None:
        problems.append(
            f"{DATABASE}: no schema of the search_path of {user} exists in {database}, where tables could be"
        )
    elif not facts["may_create"]:
        problems.append(
            f"{DATABASE}: {user} may not create tables in the schema {facts['schema']} of {database}; have its owner "
            f"run: GRANT CREATE ON SCHEMA {facts['schema']} TO {user}"
        )
    if facts["owner"]:
        problems.append(
            f"{DATABASE}: the tables of Letta in {database} belong to {facts['owner']}, so {user} cannot migrate them"
        )
    return problems


def refusal(settings: Mapping[str, Any], error: BaseException, asyncpg: Any) -> str:
    """Return what an error of connecting means for the settings."""
    # PostgreSQL's own words, without the details on lines of their own.
    said = str(error).partition("\n")[0]
    at, errors = f"{settings['host']}:{settings['port']}", asyncpg.exceptions
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{DATABASE}.tls: the certificate of {at} is not trusted ({error.verify_message}); give its authority"
    if isinstance(error, errors.InvalidPasswordError):
        return f"letta_stack_db_password: {at} does not take it for {settings['user']}"
    if isinstance(error, errors.InvalidCatalogNameError):
        return f"{DATABASE}.database: there is no {settings['database']} at {at}"
    if isinstance(error, errors.InvalidAuthorizationSpecificationError):
        return f"{DATABASE}: {at} does not let {settings['user']} in ({said})"
    if isinstance(error, errors.InsufficientPrivilegeError):
        return f"{DATABASE}: {settings['user']} may not connect to {settings['database']} ({said})"
    if isinstance(error, ConnectionError) and "SSL upgrade" in str(error):
        return f"{DATABASE}.tls: {at} speaks no TLS"
    if isinstance(error, ssl.SSLError):
        return f"{DATABASE}.tls: no TLS with {at} ({error.reason or error})"
    return f"{DATABASE}: no answer of PostgreSQL at {at} ({type(error).__name__}: {said})"


async def ask_database(settings: Mapping[str, Any]) -> tuple[list[str], bool]:
    """Return what is wrong with a database, and whether it holds Letta's tables."""
    if problem := unreachable(DATABASE, settings["host"], settings["port"], "PostgreSQL"):
        return [problem], False
    asyncpg = importlib.import_module("asyncpg")
    os.environ["PGSSLMODE"] = settings["tls"]
    # As for the server itself: with authorities, `require` looks whose certificate it is, too.
    if settings["tls"] == "verify-full":
        os.environ["PGSSLROOTCERT"] = "/etc/ssl/certs/ca-certificates.crt"
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as authorities:
        if settings["ca"]:
            authorities.write(settings["ca"])
            authorities.flush()
            os.environ["PGSSLROOTCERT"] = authorities.name
        try:
            connection = await asyncpg.connect(
                host=settings["host"],
                port=settings["port"],
                user=settings["user"],
                password=settings["password"],
                database=settings["database"],
                timeout=PATIENCE,
            )
        except (OSError, asyncio.TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            return [refusal(settings, error, asyncpg)], False
    try:
        facts = await connection.fetchrow(FACTS, timeout=PATIENCE)
    finally:
        await connection.close(timeout=PATIENCE)
    return misfits(settings, facts), facts["letta"]


def ask_redis(settings: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a Redis."""
    host, port = settings["host"], settings["port"]
    if problem := unreachable(REDIS, host, port, "Redis"):
        return [problem]
    try:
        with socket.create_connection((host, port), PATIENCE) as connection:
            connection.sendall(b"*1\r\n$4\r\nPING\r\n")
            answer = connection.recv(512).decode("utf-8", "replace").strip()
    except OSError as error:
        return [f"{REDIS}: {host}:{port} does not answer a PING ({error.strerror or error})"]
    if answer == "+PONG":
        return []
    if answer.startswith("-NOAUTH"):
        return [f"{REDIS}: {host}:{port} wants a password, and Letta can send none"]
    if answer.startswith("-"):
        return [f"{REDIS}: {host}:{port} answers a PING with {answer[1:]}"]
    return [f"{REDIS}: {host}:{port} does not answer a PING as Redis does (Letta can use none with TLS)"]


def ask(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is wrong with what somebody else runs."""
    problems, schema = [], False
    if asked["database"]:
        problems, schema = asyncio.run(ask_database(asked["database"]))
    if asked["redis"]:
        problems += ask_redis(asked["redis"])
    return {"problems": problems, "schema": schema}


def main(text: str) -> None:
    """Print the answer to a question that is JSON."""
    sys.stdout.write(json.dumps(ask(json.loads(text))))
