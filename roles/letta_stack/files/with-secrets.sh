#!/bin/sh
# with-secrets.sh DIRECTORY COMMAND...: becomes the command, with each file of the directory whose name is that of a
# variable (capital letters) as that variable. The values are in no `docker inspect` and no Compose file; what the command
# starts inherits them.
# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
set -eu

directory=$1
shift
for file in "$directory"/*; do
    name=${file##*/}
    case $name in
    *[!A-Z0-9_]* | [0-9]*) ;;
    *)
        value=$(cat "$file")
        export "$name=$value"
        ;;
    esac
done
exec "$@"
