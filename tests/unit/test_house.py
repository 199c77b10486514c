"""Covers what keeps the house in order: where the packages lie, how large files are, that every setting, command and
metric is documented. Import contracts are import-linter's (`make check`)."""

import statistics
import tomllib
from pathlib import Path

import pytest

import edge
import management
import shared
from shared import env

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (edge, management, shared)
LARGEST = 500
MEDIAN = (40, 150)


def modules() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package.__name__).rglob("*.py"))]


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_the_generic_name_is_ours(package: object) -> None:
    file = Path(str(getattr(package, "__file__", None)))
    assert file == ROOT / str(getattr(package, "__name__", None)) / "__init__.py"


def test_the_distribution_cannot_be_uploaded_by_mistake() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "Private :: Do Not Upload" in project["classifiers"]


def test_every_folder_of_tests_is_a_package() -> None:
    folders = {path.parent for path in (ROOT / "tests").rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_no_module_is_larger_than_a_person_can_hold() -> None:
    found = [str(path) for path in [*modules(), *(ROOT / "tests").rglob("*.py")] if lines(path) >= LARGEST]
    assert found == []


def test_the_median_module_is_of_the_agreed_size() -> None:
    median = statistics.median(lines(path) for path in modules() if path.name != "__init__.py")
    assert MEDIAN[0] <= median <= MEDIAN[1]


def test_every_module_says_what_it_is_for() -> None:
    silent = [str(path) for path in modules() if path.stat().st_size and not path.read_text().startswith('"""')]
    assert silent == []


@pytest.mark.parametrize("setting", env.SETTINGS, ids=lambda setting: setting.name)
def test_every_setting_stands_in_the_readme(setting: env.Setting) -> None:
    assert f"| {env.PREFIX}{setting.name} |" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_command_stands_in_the_readme() -> None:
    from management.cli import account_app, app

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    names = [command.callback.__name__ for command in app.registered_commands if command.callback is not None]
    assert names, "the command line has no commands"
    assert [name for name in names if f"`milepost {name}" not in readme and f"`{name}`" not in readme] == []
    assert account_app.registered_commands
    assert "`milepost account create" in readme


def test_nothing_records_where_packages_came_from() -> None:
    assert not (ROOT / "uv.lock").exists()
    assert "://" not in (ROOT / "requirements.lock").read_text()
