#!/usr/bin/python
# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: compose_rollout
short_description: Roll a Docker Compose project out, health-gated, with automatic rollback
version_added: 0.1.0
author:
  - agentfleet.letta contributors (@agentfleet)
description:
  - Takes a Compose project on one host from what runs to what its files say, service by service in dependency order.
  - A new container has to be healthy, and stay so, before an old one is removed. When one fails, everything that this
    run did is put back, the task fails, and its message says which container failed and why.
  - Honours C(deploy.update_config) (C(order), C(parallelism), C(delay), C(monitor)), C(deploy.replicas),
    C(healthcheck), C(depends_on) with C(service_completed_successfully), and C(stop_grace_period).
  - What the Compose Specification has no word for stands under C(x-rollout) in a service. C(timeout) is the time to
    become healthy. C(stable) is how long it has to stay healthy. C(no_healthcheck) is V(running) or V(fail).
    C(shared) lists targets of read-write mounts that two containers may use side by side.
    C(anonymous_volumes) may be V(discard).
  - Containers are created by Compose itself, so a plain C(docker compose up -d) afterwards finds nothing to do, other
    than running one-shot services again, as it always does.
requirements:
  - Docker Compose 2.24 or later, as C(docker compose)
  - Docker SDK for Python (C(docker)) 5.0 or later
  - PyYAML
attributes:
  check_mode:
    description: Gives the plan, with the reason of each action, and touches nothing.
    support: full
  diff_mode:
    description: Shows each service's normalised configuration and image before and after; values that may be secret
      are replaced by digests.
    support: full
options:
  project_src:
    description:
      - The project's directory. Relative paths in its files are resolved from here.
    type: path
    required: true
  definition:
    description:
      - The Compose file's content, as text or as a dictionary.
      - It is staged under O(state_dir), rolled out from there, and installed as C(compose.yaml) in O(project_src) once
        the rollout is committed. Text is installed as it is, comments included.
      - Mutually exclusive with O(files).
    type: raw
  files:
    description:
      - Compose files, relative to O(project_src), later ones overriding earlier ones.
      - By default what Compose finds in O(project_src) by itself.
    type: list
    elements: path
  project_name:
    description: The project's name. By default the one in the files, or else the directory's.
    type: str
  env_files:
    description: Environment files for interpolation, instead of C(.env) in O(project_src).
    type: list
    elements: path
  profiles:
    description: Profiles to activate.
    type: list
    elements: str
  pull:
    description:
      - Which images to pull before anything is created. V(policy) follows each service's C(pull_policy) and is
        V(missing) where a service has none.
    type: str
    choices: [always, missing, never, policy]
    default: policy
  remove_orphans:
    description: Remove containers of services that are no longer in the project.
    type: bool
    default: false
  state:
    description: What to reach. V(present) is what the files say.
    type: str
    choices: [present]
    default: present
  order:
    description:
      - V(start_first) starts the new container before the old one stops, V(stop_first) the other way round.
      - V(auto) takes V(start_first) where nothing is exclusive to one container. Exclusive are a fixed name, host port,
        address or device, a shared namespace, and a read-write mount that is neither tmpfs nor named in
        C(x-rollout.shared).
      - Overrides C(deploy.update_config.order); without either it is V(auto).
    type: str
    choices: [auto, start_first, stop_first]
  parallelism:
    description: How many containers of a service are replaced at a time; V(0) is all. Overrides
      C(deploy.update_config.parallelism).
    type: int
  timeout:
    description:
      - Seconds that a new container has to become healthy. Overrides C(x-rollout.timeout).
      - By default start_period + (retries + 1) * (interval + timeout) of its healthcheck, at least 60; for a one-shot,
        600 seconds to finish.
    type: float
  stable:
    description: Seconds that it has to stay healthy then. Overrides C(x-rollout.stable); without either it is 5.
    type: float
  lock_timeout:
    description: Seconds to wait for another run on the same project to end.
    type: float
    default: 60
  log_lines:
    description: How many of a failed container's last log lines are returned.
    type: int
    default: 50
  state_dir:
    description: Where the state of rollouts is kept on the host, readable by root alone.
    type: path
    default: /var/lib/compose_rollout
  docker_cli:
    description: Path of the C(docker) command. By default the one on the E(PATH).
    type: path
seealso:
  - module: community.docker.docker_compose_v2
"""

EXAMPLES = r"""
- name: Roll out what the files in /srv/shop say
  agentfleet.letta.compose_rollout:
    project_src: /srv/shop

- name: Roll out a rendered file, one container at a time, and give slow starters ten minutes
  agentfleet.letta.compose_rollout:
    project_src: /srv/shop
    definition: "{{ lookup('ansible.builtin.template', 'compose.yaml.j2') }}"
    parallelism: 1
    timeout: 600
"""

RETURN = r"""
outcome:
  description:
    - V(unchanged), V(deployed), V(rolled_back) (a failure; what ran before runs again) or V(dirty) (a failure; the
      rollback failed too).
    - Not returned in check mode.
  type: str
  returned: when the rollout was carried out
  sample: deployed
plan:
  description: What happens, or would happen, one line for each service.
  type: list
  elements: str
  returned: success or rollback
  sample: ["web: 1 new, start_first, in place of web-1; stays up (environment.LOG: changed)"]
services:
  description: Each service's part, in the order in which it was carried out.
  type: list
  elements: dict
  returned: success or rollback
  contains:
    service:
      description: Its name.
      type: str
    action:
      description: V(none), V(create), V(update), V(scale), V(repair), V(wait) or V(run).
      type: str
    order:
      description: V(start_first) or V(stop_first).
      type: str
    reasons:
      description: Why.
      type: list
      elements: str
    create:
      description: How many containers are new.
      type: int
    old:
      description: Names of the containers that are replaced.
      type: list
      elements: str
    new:
      description: Names of the containers that were made. Not in check mode.
      type: list
      elements: str
    interrupts:
      description: Whether the service is down between the old container's stop and the new one's gate.
      type: bool
    seconds:
      description: How long it took. Not in check mode.
      type: float
seconds:
  description: How long the rollout took.
  type: float
  returned: when the rollout was carried out
failure:
  description: What failed, with secrets taken out.
  type: dict
  returned: on failure of the rollout
  contains:
    service:
      description: The service.
      type: str
    container:
      description: The container's name, empty where none is to blame.
      type: str
    reason:
      description: V(create), V(exited), V(restarting), V(oom), V(unhealthy), V(timeout), V(commit) or V(interrupted).
      type: str
    detail:
      description: The reason in words.
      type: str
    exit_code:
      description: Its exit code, null while it runs.
      type: int
    restart_count:
      description: How often the engine restarted it.
      type: int
    health_log:
      description: The last runs of its healthcheck.
      type: list
      elements: dict
    logs:
      description: The last lines of its log.
      type: list
      elements: str
serving:
  description: Containers that serve in place of the failed one after the rollback.
  type: list
  elements: str
  returned: on failure of the rollout
problems:
  description: What could not be put back.
  type: list
  elements: str
  returned: on failure of the rollout
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import present


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "project_src": {"type": "path", "required": True},
            "definition": {"type": "raw"},
            "files": {"type": "list", "elements": "path"},
            "project_name": {"type": "str"},
            "env_files": {"type": "list", "elements": "path"},
            "profiles": {"type": "list", "elements": "str"},
            "services": {"type": "list", "elements": "str"},
            "pull": {"type": "str", "choices": ["always", "missing", "never", "policy"], "default": "policy"},
            "build": {"type": "str", "choices": ["always", "never", "policy"], "default": "policy"},
            "remove_orphans": {"type": "bool", "default": False},
            "state": {"type": "str", "choices": ["present"], "default": "present"},
            "order": {"type": "str", "choices": ["auto", "start_first", "stop_first"]},
            "parallelism": {"type": "int"},
            "timeout": {"type": "float"},
            "stable": {"type": "float"},
            "canary": {"type": "int"},
            "canary_time": {"type": "float"},
            "final_checks": {"type": "list", "elements": "dict"},
            "lock_timeout": {"type": "float", "default": 60},
            "log_lines": {"type": "int", "default": 50},
            "state_dir": {"type": "path", "default": "/var/lib/compose_rollout"},
            "docker_cli": {"type": "path"},
        },
        mutually_exclusive=[("definition", "files")],
        supports_check_mode=True,
    )
    present.run(module)


if __name__ == "__main__":
    main()
