"""Runs in gcloud's own Python: parses command lines from standard input by gcloud's parser, and executes none."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

SDK = Path(sys.argv[1])
sys.path[:0] = [str(SDK / "lib"), str(SDK / "lib" / "third_party")]


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("nothing is to be sent")


socket.socket.connect = refuse  # type: ignore[method-assign]

from apitools.base.py import encoding  # noqa: E402
from googlecloudsdk import gcloud_main  # noqa: E402
from googlecloudsdk.api_lib.util import apis  # noqa: E402

parser = gcloud_main.CreateCLI([])._TopElement()._parser
policies = {}
commands = json.load(sys.stdin)
for command in commands:
    try:
        arguments = parser.parse_args(command)
    except SystemExit:
        sys.exit(f"not understood: gcloud {' '.join(command)}")
    if getattr(arguments, "policy", None) and command[0] == "alpha" and command[3] in ("create", "update"):
        message = apis.GetMessagesModule("monitoring", "v3").AlertPolicy
        policy = encoding.JsonToMessage(message, arguments.policy)
        if unknown := list(encoding.UnrecognizedFieldIter(policy)):
            sys.exit(f"the API does not know {unknown} of {arguments.policy}")
        policies[policy.displayName] = policy
print(json.dumps({"parsed": len(commands), "policies": len(policies)}))
