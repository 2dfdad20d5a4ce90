"""A stand-in for gcloud: carries out on a dictionary what gcloud would do in the cloud, and records each call.

It knows the commands of deploy.sh and no other. As the real one, it refuses to create what exists and to change what
does not.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

EMPTY_PROJECT: dict[str, Any] = {
    "apis": [],
    "accounts": [],
    "builders": [],
    "secrets": {},
    "service": None,
    "revisions": [],
    "job": None,
    "health_job": None,
    "metrics": [],
    "channels": {},
    "policies": {},
    "package": False,
}


class Refused(Exception):
    """What gcloud answers with exit code 1."""


@dataclass(frozen=True)
class Call:
    """A call as it came. `changes`: whether the command is one that changes something."""

    arguments: Sequence[str]
    environment: str
    command: str
    name: str
    options: dict[str, str]

    @property
    def changes(self) -> bool:
        return self.command.split()[-1] not in ("info", "list", "describe", "access")


class GcloudStandIn:
    """gcloud and an empty project. `url` is where the deployed function is said to be, `python` what gcloud runs on."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.project = deepcopy(EMPTY_PROJECT)
        self.calls: list[Call] = []
        self.is_logged_in = True
        self.python = ""
        self.changes_until_failure: int | None = None
        self.first_failure_takes_effect = False

    def run(self, call: Call, standard_input: str) -> str:
        """Record a call and carry it out. Returns what it prints. Raises Refused."""
        self.calls.append(call)
        if call.changes and self.changes_until_failure is not None:
            self.changes_until_failure -= 1
            if self.changes_until_failure < 0:
                if self.changes_until_failure == -1 and self.first_failure_takes_effect:
                    self._carry_out(call, standard_input)
                raise Refused("the connection was lost")
        return self._carry_out(call, standard_input) or ""

    def _carry_out(self, call: Call, standard_input: str) -> str | None:
        project, name, options = self.project, call.name, call.options
        secrets, service = project["secrets"], project["service"]
        email = options.get("filter", "").removeprefix("email=")
        match call.command:
            case "info":
                return self.python
            case "auth list":
                return "somebody@example.org" if self.is_logged_in else ""
            case "projects describe":
                need(name == "my-project", f"{name} not found")
                return name
            case "services enable":
                project["apis"] = sorted({*project["apis"], *name.split()})
            case "iam service-accounts list":
                return email if email in project["accounts"] else ""
            case "iam service-accounts create":
                account = f"{name}@my-project.iam.gserviceaccount.com"
                need(account not in project["accounts"], f"{name} already exists")
                project["accounts"].append(account)
            case "iam service-accounts delete":
                need(name in project["accounts"], f"{name} not found")
                project["accounts"].remove(name)
            case "projects add-iam-policy-binding":
                member = options["member"]
                need(member.removeprefix("serviceAccount:") in project["accounts"], f"{member} does not exist")
                need(options["role"] == "roles/run.builder", "a role that the builder does not need")
                project["builders"] = [member]
            case "projects remove-iam-policy-binding":
                need(options["member"] in project["builders"], "no such binding")
                project["builders"] = []
            case "secrets list":
                wanted = options["filter"].removeprefix("name~/").removesuffix("$")
                return f"projects/1/secrets/{wanted}" if wanted in secrets else ""
            case "secrets create":
                need(name not in secrets, f"{name} already exists")
                secrets[name] = {"versions": {}, "readers": []}
            case "secrets delete":
                need(name in secrets, f"{name} not found")
                del secrets[name]
            case "secrets add-iam-policy-binding":
                need(options["member"].removeprefix("serviceAccount:") in project["accounts"], "no such account")
                secrets[name]["readers"] = [options["member"]]
            case "secrets versions list":
                enabled = [number for number, version in secrets[name]["versions"].items() if version["enabled"]]
                newest_first = sorted(enabled, key=int, reverse=True)
                return "\n".join(newest_first[: int(options.get("limit", 100))])
            case "secrets versions add":
                need(standard_input, "no value")
                versions = secrets[name]["versions"]
                versions[str(len(versions) + 1)] = {"value": standard_input, "enabled": True}
            case "secrets versions access":
                version = secrets[options["secret"]]["versions"].get(name)
                need(version and version["enabled"], f"version {name} not found, or disabled")
                return str(version["value"])
            case "secrets versions disable":
                secrets[options["secret"]]["versions"][name]["enabled"] = False
            case "run deploy":
                for account in (options["service-account"], options["build-service-account"].rsplit("/", 1)[1]):
                    need(account in project["accounts"], f"{account} does not exist")
                reader = f"serviceAccount:{options['service-account']}"
                pinned = dict(pair.split("=") for pair in options["set-secrets"].split(","))
                need(
                    all(reader in secrets[s.split(":")[0]]["readers"] for s in pinned.values()),
                    "may not read the secrets",
                )
                separator = options["set-env-vars"].split("^")[1]
                variables = options["set-env-vars"].split("^")[2].split(separator)
                project["service"] = {"environment": dict(v.split("=", 1) for v in variables), "secrets": pinned}
                project["service"]["timeout"] = options["timeout"].removesuffix("s")
                project["package"] = True
                project["revisions"].append(dict(pinned))
            case "run services list":
                return "campaign-runner" if service else ""
            case "run services describe":
                need(service, "the service does not exist")
                return f"{self.url}\t{service['timeout']}"
            case "run services update":
                need(service, "the service does not exist")
                service["secrets"].update(pair.split("=") for pair in options["update-secrets"].split(","))
                project["revisions"].append(dict(service["secrets"]))
            case "run services delete":
                need(service, "the service does not exist")
                project["service"] = None
            case "artifacts repositories list" | "artifacts packages list":
                return "found" if project["package"] else ""
            case "artifacts packages delete":
                project["package"] = False
            case "scheduler jobs list":
                job = project[_job(options["filter"])]
                return str(job[options["format"][6:-1]]) if job else ""
            case "scheduler jobs create http":
                need(project[_job(name)] is None, "the job already exists")
                project[_job(name)] = {"name": name, "state": "ENABLED", "options": options}
            case "scheduler jobs update http":
                need(project[_job(name)], "the job does not exist")
                project[_job(name)]["options"] = options
            case "scheduler jobs resume":
                need(project["job"], "the job does not exist")
                project["job"]["state"] = "ENABLED"
            case "scheduler jobs delete":
                need(project[_job(name)], "the job does not exist")
                project[_job(name)] = None
            case "logging metrics list":
                return "\n".join(project["metrics"])
            case "logging metrics create":
                need(name not in project["metrics"], f"{name} already exists")
                project["metrics"].append(name)
            case "logging metrics delete":
                project["metrics"].remove(name)
            case "beta monitoring channels list" | "alpha monitoring policies list":
                wanted = options["filter"].removeprefix("displayName=").strip('"')
                things = project[call.command.split()[2]]
                return "\n".join(id for id, thing in things.items() if thing["displayName"] == wanted)
            case "beta monitoring channels create":
                project["channels"][f"channel/{len(project['channels'])}"] = {
                    "displayName": options["display-name"],
                    "address": options["channel-labels"],
                }
            case "beta monitoring channels update":
                project["channels"][name]["address"] = options["update-channel-labels"]
            case "beta monitoring channels delete":
                del project["channels"][name]
            case "alpha monitoring policies create":
                policy = json.loads(options["policy"]) | {"channels": options.get("notification-channels")}
                need(
                    all(p["displayName"] != policy["displayName"] for p in project["policies"].values()), "a second one"
                )
                project["policies"][f"policy/{len(project['policies'])}"] = policy
            case "alpha monitoring policies update":
                need(name in project["policies"], f"{name} not found")
                channels = options.get("set-notification-channels") or project["policies"][name]["channels"]
                project["policies"][name] = json.loads(options["policy"]) | {"channels": channels}
            case "alpha monitoring policies delete":
                del project["policies"][name]
        return None


def parse(arguments: Sequence[str], environment: str) -> Call:
    """The call with these arguments. Raises Refused where the stand-in does not know the command."""
    words = [argument for argument in arguments if not argument.startswith("--")]
    options = dict(argument[2:].partition("=")[::2] for argument in arguments if argument.startswith("--"))
    for length in range(len(words), 0, -1):
        command = " ".join(words[:length])
        if command in COMMANDS:
            return Call(arguments, environment, command, " ".join(words[length:]), options)
    raise Refused(f"the stand-in does not know gcloud {' '.join(words)}")


def _job(name: str) -> str:
    """Where the state of a Scheduler job is kept, by its name or a filter of it."""
    return "health_job" if name.rstrip("$").endswith("-health") else "job"


def need(condition: object, otherwise: str) -> None:
    if not condition:
        raise Refused(otherwise)


COMMANDS = {
    line.strip()
    for line in """
        info
        auth list
        projects describe
        projects add-iam-policy-binding
        projects remove-iam-policy-binding
        services enable
        iam service-accounts list
        iam service-accounts create
        iam service-accounts delete
        secrets list
        secrets create
        secrets delete
        secrets add-iam-policy-binding
        secrets versions list
        secrets versions add
        secrets versions access
        secrets versions disable
        run deploy
        run services list
        run services describe
        run services update
        run services delete
        artifacts repositories list
        artifacts packages list
        artifacts packages delete
        scheduler jobs list
        scheduler jobs create http
        scheduler jobs update http
        scheduler jobs resume
        scheduler jobs delete
        logging metrics list
        logging metrics create
        logging metrics delete
        beta monitoring channels list
        beta monitoring channels create
        beta monitoring channels update
        beta monitoring channels delete
        alpha monitoring policies list
        alpha monitoring policies create
        alpha monitoring policies update
        alpha monitoring policies delete
    """.strip().splitlines()
}
