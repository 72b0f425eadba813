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
  - A new container has to be healthy, stay so, and pass the service's checks, before it gets traffic and an old one
    goes. When one fails, everything that this run did is put back, the task fails, and its message says which
    container failed, why, and what serves now.
  - B(What leads to a new container.) Another image, another configuration, or other content of a file that it has
    mounted (bind mounts of files, C(configs), C(secrets)). RV(plan) names the reason for each. A run that finds nothing
    to do touches nothing. A service that runs to its end (another one depends on it with
    C(condition) C(service_completed_successfully)) runs again when it changed, when it has not succeeded yet, and
    before a service that depends on it gets a new container; it has to bear that.
  - "B(Order.) V(start_first): the new container is proven beside the old one, which is stopped then; nothing is
    interrupted. V(stop_first): the old one stops, the new one starts, and the service is down until that one is proven.
    V(recreate): a service with a C(container_name); as V(stop_first), and the old container is removed before the new
    one is made. V(auto), the default, takes V(start_first) unless something is exclusive to one container: a fixed
    name, host port, address or device, a shared namespace, C(volumes_from), or a read-write mount that
    C(x-rollout.shared) does not name. To ask for V(start_first) there is an error. What is bound to a container
    (C(network_mode: service:x) and its like) is replaced together with it."
  - "B(Gate.) A container passes when its healthcheck says healthy, and goes on saying so for C(stable); without a
    healthcheck, when it runs that long. Then each of C(x-rollout.checks) has to pass. It has C(timeout) to become
    healthy and to pass them. An exit, a restart and running out of memory fail it at once; C(unhealthy) before the time
    is up does not. A service that runs to its end passes with exit code 0."
  - "B(Routing.) With C(x-rollout.proxy) an nginx of the same project gets the names of proven containers alone: the
    file C(UPSTREAM.conf) is written, tested by C(nginx -t) and loaded, and the old container is stopped when the
    workers of before have answered what they were asked (C(drain_timeout) at the most). nginx 1.27.3 or later, its
    C(upstream) block includes the file and has a C(zone), and the file's directory is a bind mount. Without it, other
    services reach a new container by Docker's DNS from its start on; the plan warns of that, and C(dns: strict) takes
    V(stop_first) instead."
  - "B(Failure.) C(deploy.update_config.failure_action) says what a failed container leads to. C(rollback), the default
    here: everything of this run goes back, all services, old containers by their ids. C(pause): what is proven stays,
    the failed one's old container serves again, and nothing after it is touched or committed. C(continue): as
    C(pause), but the run goes on to its end. Up to C(max_failure_ratio) of a service's new containers may fail without
    any of this. An image that cannot be pulled or built changes nothing at all, and its tag names what it named before.
    A run that ends by a signal goes back, too."
  - "B(Keys of x-rollout) in a service, for which the Compose Specification has no word:"
  - "C(timeout) (60s or more, from the healthcheck): how long a new container may take to become healthy and to pass
    its checks, as C(300s) or C(5m)."
  - "C(stable) (5s): how long it has to stay healthy."
  - "C(no_healthcheck) (V(running)): V(running) takes a container without a healthcheck for healthy while it runs;
    V(fail) refuses it."
  - "C(checks) (none): a list of C(http: {port, path, status, json, headers, timeout}), C(tcp: {port, timeout}) and
    C(exec: {command, timeout}). Asked inside the container's network, once a second until they pass. C(status) is one
    code or a list, V(200) by default; C(json) has to be contained in the answer; no redirect is followed."
  - "C(proxy) (none): C({service, upstream, port, directory}) or a list of such: the nginx service, the name of its
    upstream file, the port of this service (may be left out where it offers exactly one), and where the directory is
    mounted in nginx (C(/etc/nginx/upstreams))."
  - "C(drain_timeout) (600s): how long an old container may go on answering."
  - "C(shared) (none): targets of read-write mounts that two containers may use side by side. Files that are mounted
    there may change without a new container."
  - "C(anonymous_volumes) (refuse): V(discard) lets a new container begin with empty anonymous volumes."
  - "C(dns) (V(warn)): V(strict) takes V(stop_first) where another service reaches this one by Docker's DNS."
  - "B(Precedence.) An argument of this module, then C(x-rollout), then a key that is present in
    C(deploy.update_config), then the default named here."
  - "B(Also honoured.) C(deploy.update_config) with C(parallelism), C(delay), C(monitor), C(order);
    C(deploy.rollback_config) for the way back; C(deploy.replicas) and C(scale); C(depends_on) with every condition
    and C(restart); C(profiles); C(stop_grace_period), C(stop_signal); C(post_start) and C(pre_stop), which a rollout
    runs around each start and stop; C(configs) and C(secrets) of every kind."
  - "B(Refused before anything is changed), all at once: unknown keys and wrong values, missing files and images, a
    changed network or volume definition (give it a new name), data in an anonymous volume, keys that this host's
    engine or Compose does not know, and containers that another tool left half-changed, with the command that mends
    each."
  - "B(Beside plain Compose.) Containers are created by Compose itself, so a plain C(docker compose up -d) afterwards
    finds nothing to do, other than running services that end again, as it always does. C(docker compose ps) shows what
    it always shows; the numbers in containers' names go up. While a rollout is at work, C(docker compose up) by hand
    interferes with it."
requirements:
  - Docker Compose 2.24 or later, as C(docker compose)
  - Docker SDK for Python (C(docker)) 5.0 or later
  - PyYAML
attributes:
  check_mode:
    description: Gives the plan, with the reason of each action, and touches nothing. No image is pulled or built for
      it, so what depends on that is warned of.
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
      - In check mode, files that it mounts may be missing still, for tasks before this one would have written them.
        They are warned of.
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
  services:
    description:
      - Only these services, what they depend on, and what is bound to one of them (a shared namespace, or
        C(volumes_from)) are rolled out. Containers of other services stay as they are, whatever the files say.
      - By default all services of the active profiles.
    type: list
    elements: str
  pull:
    description:
      - Which images to pull before anything is created.
      - V(always) all of them, V(missing) those that are not on this host, V(never) none. V(policy) follows each
        service's C(pull_policy), and is V(missing) where a service has none. A C(pull_policy) with an interval, such
        as C(daily), is V(always).
      - Where a tag names another image afterwards and nothing comes of the rollout, it names the one of before again.
    type: str
    choices: [always, missing, never, policy]
    default: policy
  build:
    description:
      - Which images of services with a C(build) section to build, by C(docker compose build).
      - V(policy) those with C(pull_policy) C(build), those that are not on this host and have no C(image), and those
        that cannot be pulled.
      - V(always) all of them; their images are not pulled. V(never) none.
      - A build that gives the image that is there already changes nothing. Docker Compose 2 needs neither BuildKit
        nor buildx for it.
    type: str
    choices: [always, never, policy]
    default: policy
  remove_orphans:
    description:
      - Remove containers of services that are no longer in the project, when the new ones are proven.
      - One that has what a service has to have alone (its data, a host port, a fixed name or address and the like, as
        for V(stop_first)) stops when the new container is made and before it starts. It serves again, under its name,
        if the rollout, or that service, fails. They all stay where a new one is missing.
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
      - V(auto) takes V(start_first) where nothing is exclusive to one container, as described above.
      - Overrides C(deploy.update_config.order); without either it is V(auto).
    type: str
    choices: [auto, start_first, stop_first]
  parallelism:
    description: How many containers of a service are replaced at a time; V(0) is all. Overrides
      C(deploy.update_config.parallelism); without either it is 1.
    type: int
  timeout:
    description:
      - Seconds that a new container has to become healthy and to pass its checks. Overrides C(x-rollout.timeout).
      - By default start_period + (retries + 1) * (interval + timeout) of its healthcheck, at least 60; for a service
        that runs to its end, 600 seconds.
    type: float
  stable:
    description: Seconds that it has to stay healthy then. Overrides C(x-rollout.stable); without either it is 5.
    type: float
  canary:
    description:
      - So many containers of each service are replaced first, whatever O(parallelism) says, and watched for
        O(canary_time) before the others follow. V(0), the default, is none.
    type: int
  canary_time:
    description: Seconds that canaries serve, and stay healthy, before the others follow. Needs O(canary).
    type: float
  final_checks:
    description:
      - What has to answer on this host once all services are rolled out, before the rollout is committed. Each is asked
        once a second for a minute; one that does not pass takes everything back.
      - "A list of C(http: {url, status, json, headers, timeout, validate_certs}) and C(tcp: {host, port, timeout}),
        in the words of C(x-rollout.checks)."
      - They are asked in a run that has nothing to do, too.
    type: list
    elements: dict
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
  - name: Compose Deploy Specification
    description: The words of deploy.update_config and deploy.rollback_config.
    link: https://docs.docker.com/reference/compose-file/deploy/
"""

EXAMPLES = r"""
- name: Roll out what the files in /srv/shop say
  agentfleet.letta.compose_rollout:
    project_src: /srv/shop

- name: Say what would be done, and why
  agentfleet.letta.compose_rollout:
    project_src: /srv/shop
  check_mode: true
  register: planned

- name: Roll out a rendered file, one container at a time, and give slow starters ten minutes
  agentfleet.letta.compose_rollout:
    project_src: /srv/shop
    definition: "{{ lookup('ansible.builtin.template', 'compose.yaml.j2') }}"
    parallelism: 1
    timeout: 600

- name: Roll out new images of the same tags, and see that the front door answers
  agentfleet.letta.compose_rollout:
    project_src: /srv/shop
    pull: always
    final_checks:
      - http:
          url: http://127.0.0.1:8080/
          status: [200, 204]

- name: Build from the checkout beside the files, and replace one container first to see how it does
  agentfleet.letta.compose_rollout:
    project_src: /srv/shop
    build: always
    canary: 1
    canary_time: 60

- name: Roll out one service, and what it depends on, of a project in several files
  agentfleet.letta.compose_rollout:
    project_src: /srv/shop
    files: [compose.yaml, compose.production.yaml]
    services: [web]

# nginx.conf has an upstream block with `zone web 256k;` and `include /etc/nginx/upstreams/web.conf;`, and the directory
# upstreams is there.
- name: A service behind nginx that loses no request while it is updated
  agentfleet.letta.compose_rollout:
    project_src: /srv/shop
    definition:
      services:
        web:
          image: shop/web:2
          expose: [8000]
          healthcheck:
            test: [CMD, wget, -q, -O, "-", "http://127.0.0.1:8000/health"]
            interval: 2s
          deploy:
            replicas: 2
            update_config:
              parallelism: 1
              monitor: 10s
          x-rollout:
            stable: 10s
            checks:
              - http: {port: 8000, path: /health, json: {status: ok}}
            proxy: {service: nginx, upstream: web}
            drain_timeout: 2m
        nginx:
          image: nginx:1.30
          ports: ["127.0.0.1:8080:8080"]
          volumes:
            - ./nginx.conf:/etc/nginx/nginx.conf:ro
            - ./upstreams:/etc/nginx/upstreams:ro
"""

RETURN = r"""
outcome:
  description:
    - V(unchanged) (there was nothing to do) and V(deployed) are successes. All others are failures.
    - V(rolled_back) - what ran before runs again, or still.
    - V(paused) - C(failure_action) is C(pause). What is proven stays, nothing is committed, and the next run goes on.
    - V(partial) - C(failure_action) is C(continue). What failed keeps its old containers, and the next run tries it
      again.
    - V(dirty) - the rollback failed, too; RV(problems) says where.
    - Not returned in check mode, and not when the task was refused before anything was changed.
  type: str
  returned: when the rollout was carried out
  sample: deployed
plan:
  description: What happens, or would happen, one line for each service, with the reasons, what is interrupted and,
    where the last rollout tells, for how long.
  type: list
  elements: str
  returned: when the project was planned
  sample: ["web: 1 new, start_first, in place of web-1; stays up (environment.LOG: changed)"]
services:
  description: Each service's part, in the order in which it was carried out.
  type: list
  elements: dict
  returned: when the project was planned
  contains:
    service:
      description: Its name.
      type: str
    action:
      description: V(none), V(create), V(update), V(scale), V(repair), V(restart) (with a service that it depends on),
        V(route) (only its proxy is told), V(wait) or V(run) (a service that runs to its end).
      type: str
    order:
      description: V(start_first), V(stop_first) or V(recreate).
      type: str
    reasons:
      description: Why.
      type: list
      elements: str
      sample: ["image shop/web:1: 0123456789ab -> ba9876543210"]
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
    down:
      description: For how many of these seconds none of its containers served. Not in check mode.
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
      description: The service, empty where none is to blame.
      type: str
    container:
      description: The container's name, empty where none is to blame.
      type: str
    reason:
      description:
        - V(pull) or V(build) (its image cannot be had; nothing was changed), V(create) (Compose or the engine refused).
        - V(exited), V(restarting), V(oom), V(unhealthy) or V(timeout) (what the container did instead of passing its
          gate).
        - V(check) (one of C(checks) or O(final_checks)), V(hook) (C(post_start) or C(pre_stop)), V(proxy) (nginx
          refused).
        - V(commit) (the host cannot record the result) or V(interrupted) (a signal).
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
      description: The last runs of its healthcheck, each with C(start), C(exit_code) and C(output).
      type: list
      elements: dict
    logs:
      description: The last lines of its log.
      type: list
      elements: str
    check:
      description: The check that did not pass, null where none is to blame.
      type: dict
      contains:
        request:
          description: What was asked.
          type: str
          sample: GET http://172.18.0.3:8000/health
        answer:
          description: What came back the last time.
          type: str
          sample: "503 Service Unavailable: {\"status\":\"starting\"}"
serving:
  description: Containers that serve in place of the failed one now.
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
