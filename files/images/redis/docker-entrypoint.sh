#!/bin/sh
# Becomes redis-server: `docker run IMAGE [CONFIGURATION.conf] [--option value ...]`, or any other command.
# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
set -eu

case ${1-} in
-* | *.conf) set -- redis-server "$@" ;;
esac

if [ "${1-}" = redis-server ]; then
    shift
    configuration=
    case ${1-} in
    *.conf)
        configuration=$1
        shift
        ;;
    esac
    # Upstream's server is compiled without protected mode, which lets only the container itself in. An option on the
    # command line would overrule a file that sets it, and a later option overrules this one.
    if [ -z "$configuration" ] || ! grep -q '^[[:space:]]*protected-mode[[:space:]]' "$configuration"; then
        set -- --protected-mode no "$@"
    fi
    # Files of the data set are for this user alone, unless the container was given another mask.
    [ "$(umask)" != 0022 ] || umask 0077
    set -- redis-server ${configuration:+"$configuration"} "$@"
fi
exec "$@"
