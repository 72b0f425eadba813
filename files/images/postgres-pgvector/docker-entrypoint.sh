#!/usr/bin/env bash
# Makes a database cluster on an empty volume, then becomes the server. The variables are those of the official image:
# POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB (each also as NAME_FILE), POSTGRES_INITDB_ARGS, POSTGRES_INITDB_WALDIR,
# POSTGRES_HOST_AUTH_METHOD, PGDATA; and /docker-entrypoint-initdb.d.
#
# Unlike there, a cluster whose initialisation was interrupted never looks whole. It is made under
# $PGDATA/.initializing, that directory is renamed to .initialized when every script has run and the server has stopped
# cleanly, and only then its content moves up, PG_VERSION last. Killed at any point, the next start begins anew or goes
# on moving.
# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
set -euo pipefail
shopt -s dotglob nullglob

# Where the cluster lives; while it is made, PGDATA is elsewhere.
readonly volume=$PGDATA

say() {
    echo "docker-entrypoint: $*"
}

die() {
    echo "docker-entrypoint: $*" >&2
    exit 1
}

# Prints the value of $1, or what the file named by ${1}_FILE holds, or the default $2.
setting() {
    local name=$1 default=${2-} file_variable=${1}_FILE
    local value=${!name-} file=${!file_variable-}
    if [[ -n $value && -n $file ]]; then
        die "$name and $file_variable are both set; leave one of them out"
    fi
    if [[ -n $file ]]; then
        [[ -r $file ]] || die "$file_variable names $file, which user $(id -u) cannot read"
        value=$(<"$file")
    fi
    printf '%s' "${value:-$default}"
}

require_password() {
    local password=$1 method=$2
    if [[ -z $password && $method != trust ]]; then
        die "the database is not initialised and no superuser password is given:" \
            "set POSTGRES_PASSWORD_FILE (or POSTGRES_PASSWORD) to one that is not empty." \
            "POSTGRES_HOST_AUTH_METHOD=trust lets everyone in without a password; it is not recommended."
    fi
}

run_psql() {
    PGHOST='' PGHOSTADDR='' psql -v ON_ERROR_STOP=1 --no-psqlrc --no-password --username "$user" "$@"
}

run_init_files() {
    local file
    for file in /docker-entrypoint-initdb.d/*; do
        case $file in
        *.sh)
            if [[ -x $file ]]; then
                say "running $file"
                "$file"
            else
                say "sourcing $file"
                # shellcheck source=/dev/null
                . "$file"
            fi
            ;;
        *.sql) say "running $file" && run_psql --dbname "$database" --file "$file" ;;
        *.sql.gz) say "running $file" && gunzip --stdout "$file" | run_psql --dbname "$database" ;;
        *.sql.xz) say "running $file" && xz --decompress --stdout "$file" | run_psql --dbname "$database" ;;
        *.sql.zst) say "running $file" && zstd --decompress --stdout "$file" | run_psql --dbname "$database" ;;
        *) say "ignoring $file" ;;
        esac
    done
}

# Runs in a subshell: neither the password nor a variable that an init script exports reaches the server's environment.
initialise() (
    local user password database method password_method
    local -a arguments=()
    user=$(setting POSTGRES_USER postgres)
    password=$(setting POSTGRES_PASSWORD)
    database=$(setting POSTGRES_DB "$user")
    method=${POSTGRES_HOST_AUTH_METHOD-}
    require_password "$password" "$method"

    # For init scripts, as in the official image.
    export PGDATA=$volume/.initializing PGPASSWORD=${PGPASSWORD:-$password}
    export POSTGRES_USER=$user POSTGRES_PASSWORD=$password POSTGRES_DB=$database
    unset POSTGRES_USER_FILE POSTGRES_PASSWORD_FILE POSTGRES_DB_FILE

    # Word splitting is the contract: several options stand in one variable.
    read -ra arguments <<<"${POSTGRES_INITDB_ARGS-}"
    if [[ -n ${POSTGRES_INITDB_WALDIR-} ]]; then
        arguments+=(--waldir "$POSTGRES_INITDB_WALDIR")
    fi
    initdb --pgdata "$PGDATA" --username "$user" --pwfile <(printf '%s\n' "$password") "${arguments[@]}"

    password_method=$(postgres -C password_encryption)
    printf '\nhost all all all %s\n' "${method:-$password_method}" >>"$PGDATA/pg_hba.conf"

    pg_ctl --pgdata "$PGDATA" --wait --timeout 300 --options "-c listen_addresses='' -p ${PGPORT:-5432}" start
    if [[ $database != postgres ]]; then
        run_psql --quiet --dbname postgres --set db="$database" <<<'CREATE DATABASE :"db";'
    fi
    run_init_files
    pg_ctl --pgdata "$PGDATA" --wait --timeout 300 --mode fast stop
)

move_into_place() {
    local entry
    for entry in "$volume"/.initialized/*; do
        [[ ${entry##*/} == PG_VERSION ]] || mv --no-target-directory "$entry" "$volume/${entry##*/}"
    done
    sync --file-system "$volume"
    mv --no-target-directory "$volume/.initialized/PG_VERSION" "$volume/PG_VERSION"
    rmdir "$volume/.initialized"
    sync --file-system "$volume"
}

ensure_cluster() {
    local entry
    local -a found=()
    mkdir -p "$volume"
    chmod 0700 "$volume" || die "$volume does not belong to user $(id -u): change the owner of the volume"

    if [[ -s $volume/PG_VERSION ]]; then
        # Killed between the last move and its tidying.
        [[ ! -d $volume/.initialized ]] || rmdir "$volume/.initialized"
        say "$volume holds a cluster, nothing to initialise"
        return
    fi
    if [[ -d $volume/.initialized ]]; then
        say "an initialisation was interrupted after its last step, finishing it"
        move_into_place
        return
    fi
    if [[ -d $volume/.initializing ]]; then
        say "an initialisation was interrupted, starting it anew"
        rm -rf "$volume/.initializing"
    fi
    for entry in "$volume"/*; do
        [[ ${entry##*/} == lost+found ]] || found+=("${entry##*/}")
    done
    if [[ ${#found[@]} -gt 0 ]]; then
        die "$volume is neither empty nor a database cluster (it holds ${found[*]:0:5}):" \
            "mount another volume, or empty this one if nothing in it is needed"
    fi
    initialise
    sync --file-system "$volume"
    mv --no-target-directory "$volume/.initializing" "$volume/.initialized"
    move_into_place
    say 'the cluster is initialised'
}

# True for options that make postgres print something and exit.
wants_no_server() {
    local argument
    for argument in "$@"; do
        case $argument in
        -\? | --help | --describe-config | -V | --version | -C) return 0 ;;
        esac
    done
    return 1
}

main() {
    if [[ ${1-} == -* ]]; then
        set -- postgres "$@"
    fi
    if [[ ${1-} == postgres ]] && ! wants_no_server "$@"; then
        [[ $(id -u) -ne 0 ]] || die "PostgreSQL does not run as root: leave out the container's user, or set 999:999"
        ensure_cluster
        # An init password given by value is of no use to the server.
        unset POSTGRES_PASSWORD
    fi
    exec "$@"
}

main "$@"
