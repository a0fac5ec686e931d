"""Run the demo and the quick tests with the lower bounds, or the newest releases, of all dependencies.

    python -m tools.checks.bounds lowest --python python3.10
    python -m tools.checks.bounds newest --python python3.13

`lowest` installs exactly the versions that ``install_requires`` in setup.cfg names as lower bounds; `newest` the newest
that the package index has.  Neither looks at constraints.txt.  The tests' own tools are the newest in both.  Of
torch the CPU build is taken, where there is one.
"""

import configparser
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
from packaging.requirements import Requirement

__all__ = ["TEST_TOOLS", "lower_bounds"]

ROOT = Path(__file__).resolve().parents[2]

TEST_TOOLS = ("pytest", "pytest-xdist", "hypothesis", "markdown-it-py", "setuptools>=77")
"""Tools of the quick tests; setuptools makes a source distribution.  Tests of absent extras are skipped."""


def lower_bounds(setup_cfg: str) -> list[str]:
    r"""Each requirement of ``install_requires`` pinned to its lower bound, markers kept.

    Parameters
    ----------
    setup_cfg : str
        Content of setup.cfg.

    Raises
    ------
    click.ClickException
        A requirement names no lower bound.

    Examples
    --------
    >>> lower_bounds("[options]\ninstall_requires =\n    numpy>=1.26\n    tomli>=2.0; python_version < '3.11'")
    ['numpy==1.26', 'tomli==2.0; python_version < "3.11"']
    """
    config = configparser.ConfigParser()
    config.read_string(setup_cfg)
    pins = []
    for line in config["options"]["install_requires"].splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        wanted = Requirement(line)
        least = [each.version for each in wanted.specifier if each.operator == ">="]
        if not least:
            raise click.ClickException(f"setup.cfg: {line.strip()!r} has no lower bound (>=)")
        pins.append(f"{wanted.name}=={least[0]}" + (f"; {wanted.marker}" if wanted.marker else ""))
    return pins


def _run(command: Sequence[str | Path], **environment: str) -> None:
    click.echo(f"$ {' '.join(map(str, command))}", err=True)
    known = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found = subprocess.run([str(each) for each in command], cwd=ROOT, env={**known, **environment}, check=False)
    if found.returncode:
        raise click.ClickException(f"exit status {found.returncode}: {' '.join(map(str, command))}")


def _install(python: Path, pins: Sequence[str], torch: str | None) -> None:
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--upgrade", "pip"])
    _run([ROOT / "tools" / "install_torch.sh", python, torch or "newest"])
    # The package, the pins and the tests' tools in one call: the resolver sees all of them.
    _run([*pip, "--editable", ".", *TEST_TOOLS, *(pin for pin in pins if not pin.startswith("torch=="))])


@click.command()
@click.argument("which", type=click.Choice(["lowest", "newest"]))
@click.option("--python", "interpreter", default=sys.executable, help="Python to run; this one if not given.")
@click.option("--torch", help="Another version of torch than the bound, where its CPU build is not to be had.")
@click.option("--processes", default=2, show_default=True, help="Processes that run the tests; 0 is this one.")
@click.option("--work", type=click.Path(path_type=Path), help="Folder of the environment, kept.")
def main(which: str, interpreter: str, torch: str | None, processes: int, work: Path | None) -> None:
    """Install WHICH versions into a fresh environment and run the demo and the quick tests there."""
    if shutil.which(interpreter) is None:
        raise click.ClickException(f"{interpreter}: no such Python; say which with --python")
    pins = lower_bounds((ROOT / "setup.cfg").read_text("utf-8")) if which == "lowest" else []
    bound = next((pin.partition("==")[2] for pin in pins if pin.startswith("torch==")), None)
    with tempfile.TemporaryDirectory() as scratch:
        folder = work or Path(scratch)
        _run([interpreter, "-m", "venv", folder / "env"])
        python = folder / "env" / "bin" / "python"
        _install(python, pins, torch or bound)
        _run([python, "-m", "pip", "list", "--format", "freeze"])
        _run([python, "-W", "error::DeprecationWarning:noiseflow", "-m", "noiseflow", "demo", folder / "demo"])
        _run([python, "-m", "pytest", "--quick", "-q", "-n", str(processes), "--dist", "loadfile"], OMP_NUM_THREADS="1")
    click.echo(f"{which} versions on {interpreter}: the demo and the quick tests pass")


if __name__ == "__main__":
    main()
