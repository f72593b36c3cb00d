"""The house: what is installed, how the packages hang together, what the documents promise."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from support.extras import brought_by, name_of

ROOT = Path(__file__).parents[1]
PACKAGES = ("schemas", "detectors", "stream", "replay")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def module_of(path: Path) -> str:
    """Spell the import name of a file in one of the root folders."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("gamekeeper", *(part for part in parts if part != "__init__")))


def names_of(node: ast.AST) -> list[str]:
    """List the modules that a statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module]
    return []


def test_the_tap_brings_four_distributions_only() -> None:
    """Without extras, the package brings crc32c, kafka-python, msgspec and numpy, nothing else."""
    requirements = importlib.metadata.requires("gamekeeper") or []
    always = {name_of(line) for line in requirements if "extra ==" not in line}
    assert always == {"crc32c", "kafka-python", "msgspec", "numpy"}


def test_every_import_is_declared() -> None:
    """What code, tests and site import is a requirement of some extra, if through another."""
    declared = brought_by(*PROJECT["project"]["optional-dependencies"])
    files = [*MODULES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "docs").rglob("*.py")]
    imported = {
        name.partition(".")[0]
        for path in files
        for node in ast.walk(ast.parse(path.read_text()))
        for name in names_of(node)
    }
    local = {path.stem for path in files} | {path.parent.name for path in files} | {"gamekeeper"}
    distributions = importlib.metadata.packages_distributions()
    foreign = imported - set(sys.stdlib_module_names) - local
    undeclared = {
        name for name in foreign if not declared & {*map(name_of, distributions.get(name, []))}
    }
    assert not undeclared


def test_version_comes_from_metadata() -> None:
    """The installed version is pyproject's; there is no second place that states it."""
    assert importlib.metadata.version("gamekeeper") == PROJECT["project"]["version"]


def test_the_command_is_installed() -> None:
    """The console command `gamekeeper` points at something that can be imported."""
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="gamekeeper")
    assert callable(command.load())


def test_gamekeeper_is_a_namespace() -> None:
    """There is no `gamekeeper/__init__.py`: the four packages are portions of a namespace."""
    spec = importlib.util.find_spec("gamekeeper")
    assert spec is not None
    assert spec.origin is None


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_is_typed(package: str) -> None:
    """Type checkers of other projects may rely on our annotations."""
    assert (ROOT / package / "py.typed").is_file()


def test_every_folder_with_code_is_installed() -> None:
    """A folder that setuptools does not know works in the checkout and is missing in a wheel."""
    folders = {path.parent.relative_to(ROOT) for path in MODULES}
    packages = set(PROJECT["tool"]["setuptools"]["packages"])
    assert {".".join(("gamekeeper", *folder.parts)) for folder in folders} <= packages


def test_every_data_file_is_installed() -> None:
    """A data file beside the code that no package-data pattern matches is missing in a wheel."""
    files = {
        path
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    }
    installed = {
        path
        for package, patterns in PROJECT["tool"]["setuptools"]["package-data"].items()
        for pattern in patterns
        for path in ROOT.joinpath(*package.split(".")[1:]).glob(pattern)
    }
    assert files <= installed


def test_import_layers() -> None:
    """Data flows one way, and the detectors know neither Kafka nor files."""
    linter = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run([linter, "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True)
    assert run.returncode == 0, run.stdout.decode()


@pytest.mark.parametrize("path", MODULES, ids=module_of)
def test_modules_say_what_they_are(path: Path) -> None:
    """Every module opens with a docstring."""
    assert ast.get_docstring(ast.parse(path.read_text())), f"{path} has no docstring"


def test_the_tap_imports_nothing_heavy() -> None:
    """In a model server, the tap loads only its own packages, numpy, kafka, crc32c and msgspec."""
    # Run in a fresh interpreter: this one has imported everything.
    code = (
        "import sys; before = set(sys.modules); import gamekeeper.stream.tap.tap;"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    names = set(run.stdout.split()) - set(sys.stdlib_module_names)
    names = {name for name in names if not name.startswith(("_", "__editable__"))}
    names -= {"typing_extensions"}  # msgspec imports it only if it happens to be there
    assert names <= {"gamekeeper", "numpy", "kafka", "crc32c", "msgspec"}


def test_torch_stays_pinned_and_out_of_the_tap() -> None:
    """A newer torch pulls gigabytes of CUDA packages; only networks need it."""
    constraints = (ROOT / "constraints.txt").read_text().splitlines()
    assert "torch==2.13.0" in constraints
    extras = PROJECT["project"]["optional-dependencies"]
    assert [name for name, lines in extras.items() if "torch" in map(name_of, lines)] == [
        "networks"
    ]
    with_torch = {name for name in extras if "torch" in brought_by(name)}
    assert extras.keys() - with_torch == {"tap", "sql", "replay", "plot"}


def test_constraints_cover_every_requirement() -> None:
    """Each requirement of every extra is pinned, by version alone: no path, no address."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in lines)
    extras = PROJECT["project"]["optional-dependencies"].values()
    required = {name_of(line) for lines in extras for line in lines} - {"gamekeeper"}
    required |= {name_of(line) for line in PROJECT["project"]["dependencies"]}
    assert required <= {name_of(line) for line in lines}


@pytest.mark.parametrize("target", ["demo", "test", "check", "types", "bench", "docs", "clean"])
def test_make_has_the_target(target: str) -> None:
    """`make` knows what to do for every target that the documents name."""
    run = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True)
    assert run.returncode == 0, run.stderr.decode()


def test_make_types_links_true_files(tmp_path: Path) -> None:
    """The link tree of `make types` leads to the root folders, so that errors name true files."""
    links = [f"build/types/gamekeeper/{package}" for package in PACKAGES]
    for package in PACKAGES:
        (tmp_path / package).mkdir()
    subprocess.run(["make", "--silent", "-f", ROOT / "Makefile", *links], cwd=tmp_path, check=True)
    assert [(tmp_path / link).resolve() for link in links] == [tmp_path / name for name in PACKAGES]


PIP = """\
#!/bin/sh
echo "Obtaining file:///x"; echo "  Installing build dependencies: started"
for n in 1 2 3 4 5 6 7 8 9 10 11; do echo "Collecting package$n>=1.0 (from y)"; done
echo "Processing /links/other-1.0-py3-none-any.whl"
echo "WARNING: of no interest" >&2
{end}
echo "Installing collected packages: a, b, c, and many more"
"""


@pytest.mark.parametrize("fails", [False, True])
def test_make_shows_what_it_installs(fails: bool, tmp_path: Path) -> None:
    """A few lines where stdout is a pipe; what goes wrong is said, and nothing is made."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(PIP.format(end="echo 'ERROR: no such package' >&2; exit 1" if fails else ""))
    python.chmod(0o755)
    # As a user calls it: this test itself may be run by make, which tells its own makes so.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    run = subprocess.run(
        ["make", ".venv/demo.stamp"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode != 0) == fails == (not (tmp_path / ".venv" / "demo.stamp").exists())
    shown = ["  10 packages: package10", "  12 packages: installing them"]
    assert run.stdout.splitlines()[1:] == shown[: 1 if fails else 2]
    assert ("ERROR: no such package" in run.stderr) == fails
    assert "WARNING" not in run.stderr


def test_changelog_has_this_version() -> None:
    """The changelog has an entry for the version that is installed."""
    assert f"## [{PROJECT['project']['version']}]" in (ROOT / "CHANGELOG.md").read_text()
