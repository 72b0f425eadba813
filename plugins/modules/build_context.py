#!/usr/bin/python
# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entry point of the module build_context."""

from __future__ import annotations

DOCUMENTATION = r"""
module: build_context
short_description: Keep a build context that holds what is named of a source tree and nothing else
version_added: 0.1.0
author:
  - agentfleet.letta contributors (@agentfleet)
description:
  - Makes a directory the mirror of named parts of a source tree on the same host, for an image to be built from.
  - What is not named is not copied, so that nothing which lies beside the named parts gets into an image.
  - In a named directory the names of files decide, by O(patterns) and O(exclude); nobody looks at what they hold. The
    default of O(exclude) keeps out some names of data and secrets. To keep out the others, too, name the kinds of files
    that the source is made of with O(patterns).
  - Files get the same mode whoever checked the tree out, so that equal trees give equal digests and equal images.
  - A link in a named part is refused, because it may lead out of the tree.
options:
  source:
    description: The source tree, on the host.
    type: path
    required: true
  path:
    description:
      - The directory of the mirror. It is made if it is missing; what is in it and not in the tree is removed.
      - So it must be a directory of its own, neither in nor around O(source).
    type: path
    required: true
  include:
    description:
      - Files and directories to mirror, relative to O(source). All of them must be there.
      - They are named without C(..), and without a link on the way to them.
    type: list
    elements: str
    required: true
  patterns:
    description:
      - Shell patterns. A file below an included directory is left out if its name matches none, in whatever case.
      - RV(left_out) names it.
    type: list
    elements: str
    default: ["*"]
  exclude:
    description:
      - Shell patterns. A file or directory below an included directory is left out if its name matches one, in whatever
        case, and whether O(patterns) has it or not.
      - RV(left_out) names it.
    type: list
    elements: str
    default:
      - ".*"
      - __pycache__
      - "*.py[cod]"
      - node_modules
      - "*.log"
      - "*.db"
      - "*.sqlite*"
      - "*.pem"
      - "*.key"
      - "*.env"
      - "*credential*.json"
      - "*secret*.json"
      - "*service*account*.json"
      - "*token.json"
attributes:
  check_mode:
    description: Can run in check mode and say what a run would change, without changing it.
    support: full
  diff_mode:
    description: Names the files that differ, with digests of what they hold.
    support: full
  platform:
    description: The systems on which the module works.
    platforms: posix
    support: full
"""

EXAMPLES = r"""
- name: Bring what the image is built from
  agentfleet.letta.build_context:
    source: /srv/letta
    path: /opt/letta/build/source
    include: [letta, alembic, alembic.ini, pyproject.toml, uv.lock]
    patterns: ["*.py", "*.txt", "*.json", "*.j2", "*.mako"]
  register: context
"""

RETURN = r"""
digest:
  description: What the context holds (in check mode, is to hold) as one SHA-256.
  returned: success
  type: str
  sample: 1f0c3a5be3d24e1b3f4d2d1bb0c0e5b8a9c3d7f1e2a4b6c8d0e1f2a3b4c5d6e7
files:
  description: How many files it has.
  returned: success
  type: int
  sample: 719
left_out:
  description: Files and directories below included directories that their names kept out, relative to O(source).
  returned: success
  type: list
  elements: str
  sample: [letta/.env, letta/__pycache__, letta/server/id_rsa]
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import _build_context

# What is hidden, what tools make, data, and secrets, as far as their names tell.
EXCLUDED = [
    ".*",
    "__pycache__",
    "*.py[cod]",
    "node_modules",
    "*.log",
    "*.db",
    "*.sqlite*",
    "*.pem",
    "*.key",
    "*.env",
    "*credential*.json",
    "*secret*.json",
    "*service*account*.json",
    "*token.json",
]


def main() -> None:
    """Plan, and carry the plan out unless it is only asked for."""
    module = AnsibleModule(
        argument_spec={
            "source": {"type": "path", "required": True},
            "path": {"type": "path", "required": True},
            "include": {"type": "list", "elements": "str", "required": True},
            "patterns": {"type": "list", "elements": "str", "default": ["*"]},
            "exclude": {"type": "list", "elements": "str", "default": EXCLUDED},
        },
        supports_check_mode=True,
    )
    asked = module.params
    try:
        names = (asked["include"], asked["exclude"], asked["patterns"])
        plan = _build_context.plan(asked["source"], asked["path"], *names)
        if plan.changed and not module.check_mode:
            _build_context.apply(plan, asked["source"], asked["path"])
    except (_build_context.ContextError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=plan.changed,
        digest=plan.digest,
        files=len(plan.wanted),
        left_out=list(plan.left_out),
        diff={"before": plan.describe(before=True), "after": plan.describe(before=False)},
    )


if __name__ == "__main__":
    main()
