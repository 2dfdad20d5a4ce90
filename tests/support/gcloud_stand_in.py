"""A recording stand-in for gcloud: run as a program, it carries out on a file what gcloud would do in the cloud.

It knows the commands of deploy.sh and no other, refuses to create what exists and to change what does not, as the real
one does, and appends each call to a log. STAND_IN names its directory. It is started often, and imports little.
"""

from __future__ import annotations

import json
import os
import sys

TYPE_CHECKING = False  # typing takes half as long to import as all the rest

if TYPE_CHECKING:
    from typing import Any

NOTHING: dict[str, Any] = {
    "apis": [],
    "accounts": [],
    "builders": [],
    "secrets": {},
    "service": None,
    "revisions": [],
    "job": None,
    "metrics": [],
    "channels": {},
    "policies": {},
    "package": False,
}


class Refused(Exception):
    """What gcloud answers with exit code 1."""


def main() -> int:
    arguments = sys.argv[1:]
    state = json.loads(read("state.json") or json.dumps(NOTHING))
    words = [argument for argument in arguments if not argument.startswith("--")]
    options = dict(argument[2:].partition("=")[::2] for argument in arguments if argument.startswith("--"))
    command, name = split(words)
    standard_input = sys.stdin.read() if options.get("data-file") == "-" else None
    changes = command.split()[-1] not in ("list", "describe", "access")
    call = {"command": command, "name": name, "options": options, "changes": changes}
    write("log.jsonl", json.dumps({**call, "arguments": arguments, "environment": dict(os.environ)}) + "\n", mode="a")
    failing = read("fail_after")
    if changes and failing:
        left, takes_effect = json.loads(failing)
        write("fail_after", json.dumps([left - 1, takes_effect]))
        if left <= 0:
            if left == 0 and takes_effect:
                answer(state, command, name, options, standard_input)
                write("state.json", json.dumps(state))
            print("ERROR: (gcloud) the connection was lost", file=sys.stderr)
            return 1
    try:
        output = answer(state, command, name, options, standard_input)
    except Refused as error:
        print(f"ERROR: (gcloud.{command.replace(' ', '.')}) {error}", file=sys.stderr)
        return 1
    if changes:
        write("state.json", json.dumps(state))
    if output:
        print(output)
    return 0


def read(name: str) -> str | None:
    try:
        with open(os.path.join(os.environ["STAND_IN"], name)) as file:
            return file.read()
    except FileNotFoundError:
        return None


def write(name: str, text: str, mode: str = "w") -> None:
    with open(os.path.join(os.environ["STAND_IN"], name), mode) as file:
        file.write(text)


def split(words: list[str]) -> tuple[str, str]:
    """The command, and the name of the thing, if there is one."""
    for length in range(len(words), 0, -1):
        if " ".join(words[:length]) in COMMANDS:
            return " ".join(words[:length]), " ".join(words[length:])
    raise SystemExit(f"the stand-in does not know gcloud {' '.join(words)}")


def answer(
    state: dict[str, Any], command: str, name: str, options: dict[str, str], standard_input: str | None
) -> str | None:
    """Carry out one command on the state. Returns what it prints. Raises Refused."""
    secrets, service = state["secrets"], state["service"]
    email = options.get("filter", "").removeprefix("email=")
    match command:
        case "auth list":
            return "" if read("logged_out") is not None else "somebody@example.org"
        case "projects describe":
            need(name == "my-project", f"{name} not found")
            return name
        case "services enable":
            state["apis"] = sorted({*state["apis"], *name.split()})
        case "iam service-accounts list":
            return email if email in state["accounts"] else ""
        case "iam service-accounts create":
            account = f"{name}@my-project.iam.gserviceaccount.com"
            need(account not in state["accounts"], f"{name} already exists")
            state["accounts"].append(account)
        case "iam service-accounts delete":
            need(name in state["accounts"], f"{name} not found")
            state["accounts"].remove(name)
        case "projects add-iam-policy-binding":
            member = options["member"]
            need(member.removeprefix("serviceAccount:") in state["accounts"], f"{member} does not exist")
            need(options["role"] == "roles/run.builder", "a role that the builder does not need")
            state["builders"] = [member]
        case "projects remove-iam-policy-binding":
            need(options["member"] in state["builders"], "no such binding")
            state["builders"] = []
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
            need(options["member"].removeprefix("serviceAccount:") in state["accounts"], "no such account")
            secrets[name]["readers"] = [options["member"]]
        case "secrets versions list":
            enabled = [number for number, version in secrets[name]["versions"].items() if version["enabled"]]
            newest_first = sorted(enabled, key=int, reverse=True)
            return "\n".join(newest_first[: int(options.get("limit", 100))])
        case "secrets versions add":
            need(bool(standard_input), "no value")
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
                need(account in state["accounts"], f"{account} does not exist")
            reader = f"serviceAccount:{options['service-account']}"
            pinned = dict(pair.split("=") for pair in options["set-secrets"].split(","))
            need(
                all(reader in secrets[s.split(":")[0]]["readers"] for s in pinned.values()), "may not read the secrets"
            )
            separator = options["set-env-vars"].split("^")[1]
            variables = options["set-env-vars"].split("^")[2].split(separator)
            state["service"] = {"environment": dict(v.split("=", 1) for v in variables), "secrets": pinned}
            state["service"]["timeout"] = options["timeout"].removesuffix("s")
            state["package"] = True
            state["revisions"].append(dict(pinned))
        case "run services list":
            return "campaign-runner" if service else ""
        case "run services describe":
            need(service, "the service does not exist")
            return f"{read('url')}\t{service['timeout']}"
        case "run services update":
            need(service, "the service does not exist")
            service["secrets"].update(pair.split("=") for pair in options["update-secrets"].split(","))
            state["revisions"].append(dict(service["secrets"]))
        case "run services delete":
            need(service, "the service does not exist")
            state["service"] = None
        case "artifacts repositories list" | "artifacts packages list":
            return "found" if state["package"] else ""
        case "artifacts packages delete":
            state["package"] = False
        case "scheduler jobs list":
            return str(state["job"][options["format"][6:-1]]) if state["job"] else ""
        case "scheduler jobs create http":
            need(state["job"] is None, "the job already exists")
            state["job"] = {"name": name, "state": "ENABLED", "options": options}
        case "scheduler jobs update http":
            need(state["job"], "the job does not exist")
            state["job"]["options"] = options
        case "scheduler jobs resume":
            need(state["job"], "the job does not exist")
            state["job"]["state"] = "ENABLED"
        case "scheduler jobs delete":
            need(state["job"], "the job does not exist")
            state["job"] = None
        case "logging metrics list":
            return "\n".join(state["metrics"])
        case "logging metrics create":
            need(name not in state["metrics"], f"{name} already exists")
            state["metrics"].append(name)
        case "logging metrics delete":
            state["metrics"].remove(name)
        case "beta monitoring channels list" | "alpha monitoring policies list":
            wanted = options["filter"].removeprefix("displayName=").strip('"')
            things = state[command.split()[2]]
            return "\n".join(id for id, thing in things.items() if thing["displayName"] == wanted)
        case "beta monitoring channels create":
            state["channels"][f"channel/{len(state['channels'])}"] = {
                "displayName": options["display-name"],
                "address": options["channel-labels"],
            }
        case "beta monitoring channels update":
            state["channels"][name]["address"] = options["update-channel-labels"]
        case "beta monitoring channels delete":
            del state["channels"][name]
        case "alpha monitoring policies create":
            policy = json.loads(options["policy"]) | {"channels": options.get("notification-channels")}
            need(all(p["displayName"] != policy["displayName"] for p in state["policies"].values()), "a second one")
            state["policies"][f"policy/{len(state['policies'])}"] = policy
        case "alpha monitoring policies update":
            need(name in state["policies"], f"{name} not found")
            channels = options.get("set-notification-channels") or state["policies"][name]["channels"]
            state["policies"][name] = json.loads(options["policy"]) | {"channels": channels}
        case "alpha monitoring policies delete":
            del state["policies"][name]
    return None


def need(condition: object, otherwise: str) -> None:
    if not condition:
        raise Refused(otherwise)


COMMANDS = {
    line.strip()
    for line in """
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
