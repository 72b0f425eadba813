#!/bin/sh
# Becomes the image's own entrypoint; Redis reads the rest of its configuration, the password, from standard input.
# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
set -eu

password=$(cat /run/secrets/redis_password)
exec docker-entrypoint.sh "$@" - <<EOF
requirepass "$password"
EOF
