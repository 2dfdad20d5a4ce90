"""What docs/hosting.md says is true, as far as no container engine is needed: the image serves, the crontab runs."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx
import pytest

from local.function import Function
from tests.support import records
from tests.support.documentation import ROOT, Page, shell
from tests.support.refusal import let_it_pass, refuse
from tests.support.service import Service

pytestmark = pytest.mark.slow

PAGE = Page("docs/hosting.md")
DOCKERFILE = (ROOT / "container" / "Dockerfile").read_text()
PROGRAMS = Path(sys.executable).parent


def instructions(name: str) -> list[str]:
    """The arguments of each instruction of this name."""
    return re.findall(rf"^{name} (.*)$", DOCKERFILE, re.MULTILINE)


class Container(Function):
    """The command of the image, in a folder that has the files of the image and no others."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        super().__init__(environment)
        self._folder = folder

    def command(self) -> Sequence[str]:
        [command] = instructions("CMD")
        return ["/bin/sh", "-c", 'cd "$0" && exec "$@"', str(self._folder), *json.loads(command)]

    def environment(self) -> Mapping[str, str]:
        own = dict(pair.split("=") for line in instructions("ENV") for pair in line.split())
        return {**super().environment(), **own, "PATH": str(PROGRAMS), "PORT": str(self.port)}


@pytest.fixture(scope="module")
def container(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    folder = tmp_path_factory.mktemp("app")
    for line in instructions("COPY"):
        source, target = line.split()
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, folder / target)
        else:
            shutil.copy(ROOT / source, folder / target)
    with Container(environment, folder) as container:
        yield container


def test_the_image_serves_and_admits_callers_with_the_token_alone(service: Service, container: Container) -> None:
    campaign = service.due_campaign()
    assert httpx.get(f"{container.url}/robots.txt").status_code == 404
    assert httpx.get(f"{container.url}/health").status_code == 401
    assert httpx.post(container.url).status_code == 401
    assert records.status(service.database, campaign) == "scheduled"
    answer = httpx.post(container.url, headers={"Authorization": f"Bearer {service.token}"}, timeout=60)
    assert answer.status_code == 200
    assert records.status(service.database, campaign) == "sending"


def test_the_image_does_not_run_as_root_and_holds_no_secret() -> None:
    [user] = instructions("USER")
    assert int(user) > 0
    assert DOCKERFILE.index("USER ") > DOCKERFILE.rindex("RUN ")
    names = {pair.partition("=")[0] for line in instructions("ENV") for pair in line.split()}
    assert names == {"PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "THREADS"}


def test_the_build_sees_the_files_that_it_copies_and_no_others() -> None:
    copied = {line.split()[0] for line in instructions("COPY")}
    for file in (".dockerignore", ".gcloudignore"):  # both name the source of the function
        lines = (ROOT / file).read_text().splitlines()
        assert {line.strip("!/") for line in lines if line.startswith("!")} == copied
        assert lines[1] in ("*", "/*")


def test_the_top_folder_has_no_dockerfile_which_gcloud_would_build_from() -> None:
    assert not (ROOT / "Dockerfile").exists()


@pytest.fixture
def machine(service: Service, tmp_path: Path) -> Path:
    """A folder with our Python and the settings in a file, as the page says."""
    folder = tmp_path / "campaign-runner"
    folder.mkdir()
    (folder / ".venv").symlink_to(PROGRAMS.parent)
    (folder / "runner").symlink_to(ROOT / "runner")
    (folder / ".env.example").symlink_to(ROOT / ".env.example")
    [install] = re.findall(r"^install .*", PAGE.blocks("sh", "install -m 600")[0], re.MULTILINE)
    shell(here(install, tmp_path), {}, folder)
    file = tmp_path / "campaign-runner.env"
    assert file.stat().st_mode & 0o777 == 0o600
    lines = file.read_text().splitlines()
    for name, value in service.settings.items():
        [at] = [number for number, line in enumerate(lines) if line.startswith(f"{name}=")]
        lines[at] = f"{name}={value}"
    file.write_text("\n".join(lines))
    return folder


def here(command: str, folder: Path) -> str:
    return command.replace("/etc/", f"{folder}/").replace("/opt/", f"{folder}/")


def test_a_plain_machine_is_well_and_the_crontab_line_launches_what_is_due_in_silence(
    service: Service, machine: Path, tmp_path: Path
) -> None:
    [look] = PAGE.blocks("sh", "--dry-run")
    output = shell(here(look, tmp_path), {}, machine)
    assert "0 would be launched, 0 failed." in output
    assert "0 problems, " in output
    campaign = service.due_campaign()
    assert cron_line(machine, tmp_path) == ""
    assert records.status(service.database, campaign) == "sending"


def test_the_crontab_line_prints_what_could_not_be_launched(service: Service, machine: Path, tmp_path: Path) -> None:
    campaign = service.due_campaign()
    refuse(service.database, campaign)
    try:
        output = cron_line(machine, tmp_path)
    finally:
        let_it_pass(service.database)
    assert f"Not launched: Campaign\n  {campaign}" in output


def cron_line(machine: Path, folder: Path) -> str:
    """What the command of the line prints, by the shell that cron takes, from another folder."""
    [line] = [line for line in PAGE.blocks("crontab")[0].splitlines() if line.startswith("*")]
    command = here(line.removeprefix("* * * * * "), folder)
    return shell(f"({command}) || true", {}, machine.parent)
