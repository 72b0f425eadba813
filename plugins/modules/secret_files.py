#!/usr/bin/python
# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entry point of the module secret_files."""

from __future__ import annotations

DOCUMENTATION = r"""
module: secret_files
short_description: Keep the secrets of containers as files that only root and the container in need can read
version_added: 0.1.0
author:
  - agentfleet.letta contributors (@agentfleet)
description:
  - Keeps a directory of secrets that only its owner can enter. The value of each secret stands in a file of its name.
  - A secret that is not given is made once, on the host, and never leaves it.
  - For a container to mount, each value stands once more in a file whose name ends in a digest of the value, keyed with
    a salt of the host. A changed secret has a changed path, so that tools which compare configurations see the change,
    and a container that still runs keeps the file it started with.
  - The mounted files are readable by everyone who can reach them, which outside of the container is only the owner of
    the directory.
options:
  path:
    description: The directory. It is made if it is missing.
    type: path
    required: true
  values:
    description:
      - Values by name. A name is made of letters, digits and underscores.
      - Ansible blots a value out wherever it occurs in what it shows, so one that is part of a file's name is refused.
    type: dict
    default: {}
  generate:
    description:
      - Names of secrets that must exist. One that neither O(values) gives nor the directory holds is made, of 48
        letters and digits.
    type: list
    elements: str
    default: []
  require:
    description:
      - Names of secrets that must exist and are not made, because something that was made with them exists.
      - One that neither O(values) gives nor the directory holds is an error.
    type: list
    elements: str
    default: []
  fixed:
    description:
      - Names of secrets whose value cannot change while something that was made with it is in use, such as an
        encryption key.
      - A value in O(values) that differs from the one in the directory is refused before anything is written.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Can run in check mode and say what a run would change, without changing it.
    support: full
  diff_mode:
    description: Says in diff mode what a run changes. It names secrets and never shows a value.
    support: full
  platform:
    description: The systems on which the module works.
    platforms: posix
    support: full
"""

EXAMPLES = r"""
- name: Keep the secrets of the stack
  agentfleet.letta.secret_files:
    path: /opt/letta/secrets
    values:
      OPENAI_API_KEY: "{{ vault_openai_api_key }}"
    generate:
      - db_password
      - encryption_key
    fixed:
      - encryption_key
  register: secrets
"""

RETURN = r"""
files:
  description:
    - The name of the file to mount, by the name of the secret.
    - In check mode, a secret that would be made has a name that ends in C(new).
  returned: success
  type: dict
  sample:
    db_password: db_password.1f0c3a5be3d2
created:
  description: Names of the secrets that were not there before.
  returned: success
  type: list
  elements: str
  sample: [db_password]
updated:
  description: Names of the secrets that had another value before.
  returned: success
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._secret_files import SecretError, SecretFiles


def main() -> None:
    """Plan, and carry the plan out unless it is only asked for."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "values": {"type": "dict", "default": {}, "no_log": True},
            "generate": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "require": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "fixed": {"type": "list", "elements": "str", "default": [], "no_log": False},
        },
        supports_check_mode=True,
    )
    secrets = SecretFiles(module.params["path"])
    try:
        plan = secrets.plan(
            module.params["values"], module.params["generate"], module.params["require"], module.params["fixed"]
        )
        if not module.check_mode:
            secrets.apply(plan)
    except (SecretError, OSError) as error:
        module.fail_json(msg=str(error))
    files = plan.predicted() if module.check_mode else plan.files
    module.exit_json(
        changed=plan.changed,
        files=files,
        created=plan.created,
        updated=plan.updated,
        diff={"before": plan.describe(before=True), "after": plan.describe(before=False)},
    )


if __name__ == "__main__":
    main()
