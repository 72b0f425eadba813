#!/usr/bin/env bash
# Makes Letta's database on an empty volume: a role that is no superuser owns it, and the extension that only a
# superuser may create is there. Whatever it prints goes to the container's log, so psql reads the password itself.
set -euo pipefail

psql --no-psqlrc --set ON_ERROR_STOP=1 --quiet --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
\set password `cat /run/secrets/db_password`
CREATE ROLE letta LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
ALTER DATABASE :"DBNAME" OWNER TO letta;
REVOKE ALL ON DATABASE :"DBNAME" FROM PUBLIC;
CREATE EXTENSION IF NOT EXISTS vector;
SQL
