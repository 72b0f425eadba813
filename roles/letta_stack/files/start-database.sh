#!/usr/bin/env bash
# Becomes the image's own entrypoint, with a copy of the TLS key that its user alone can read.
# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
set -euo pipefail

install --mode=0600 /run/secrets/db_tls_key /run/postgresql/server.key
exec docker-entrypoint.sh "$@"
