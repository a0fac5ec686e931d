"""A newcomer's path, timed: from frames of one's own to a calibrated and fitted camera, a report and a training loop.

    python -m tools.checks.newcomer            # with the noiseflow that is installed
    python -m tools.checks.newcomer --fresh    # into a fresh environment first
    python -m tools.checks.newcomer --small    # as CI runs it

It runs the commands of the pages, each in a process of its own, and the training loop of the README as it stands there.
The frames are those of a simulated camera: flats, darks, a burst, and a scene to put noise on.  A command that fails
or prints a warning that `EXPLAINED` does not list ends it with status 1.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click

__all__ = ["EXPLAINED", "commands", "unexplained"]

ROOT = Path(__file__).resolve().parents[2]

EXPLAINED = {
    r"ExtrapolationWarning: ISO .* is outside": "the README draws ISO 100 to 1600; the burst has one",
}
"""Pattern of a warning → why a newcomer meets it on this path, as the page about it says."""


def commands(small: bool) -> dict[str, str]:
    """Step → command, in the order of the path.

    Parameters
    ----------
    small : bool
        Whether fits take a few steps only.
    """
    few = " --epochs 1 --steps-per-epoch 8 --batch 8" if small else ""
    scored = " --max-patches 40" if small else ""
    camera = '--camera "Sony A7S2" --iso 800'
    return {
        "shoot flats, darks and a burst": f"noiseflow simulate mine/ {camera} --iso 1600 --series --size 128 160",
        "shoot a scene": f"noiseflow simulate raws {camera} --scenes 2 --size 128 192",
        "calibrate": "noiseflow calibrate mine/flats mine/darks --out camera.json --report camera.html",
        "what is it": "noiseflow info camera.json",
        "ingest": "noiseflow ingest mine/burst --out patches.h5",
        "fit": f"noiseflow fit patches.h5 --model physics_flow --out run/{few}",
        "report": f"noiseflow evaluate run/ patches.h5 --out report/{scored}",
        "noisy frame": "noiseflow sample run/ raws/000_wedge_ISO800_CLEAN.dng --iso 800 --out noisy.dng",
        "noisy frame of the profile": "noiseflow sample camera.json raws/000_wedge_ISO800_CLEAN.dng --out eld.dng",
        "noisy pairs": "noiseflow ingest mine/burst --pairing noisy-pair --out twice.h5",
        "fit to noisy pairs": f"noiseflow fit twice.h5 --out run_pairs{few}",
        "denoised frame": "noiseflow denoise run_pairs noisy.dng --out denoised.dng",
        "training loop": "python loop.py",
    }


def unexplained(output: str) -> list[str]:
    r"""Lines of an output that warn and that `EXPLAINED` does not list.

    >>> unexplained("fit: 1/8 steps\nnoiseflow: warning: odd\nx.py:3: UserWarning: old")
    ['noiseflow: warning: odd', 'x.py:3: UserWarning: old']
    """
    lines = [line.strip() for line in output.splitlines() if re.search(r"warning\b|Warning:", line)]
    return [line for line in lines if not any(re.search(pattern, line) for pattern in EXPLAINED)]


def _loop() -> str:
    """The README's training loop."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"^```python\n(.*?)^```", readme, flags=re.S | re.M)
    return str(snippet)


def _walk(folder: Path, programs: Path, small: bool) -> Iterator[tuple[str, float]]:
    """Run the steps in a folder; the name and the seconds of each."""
    (folder / "loop.py").write_text(_loop(), encoding="utf-8")
    path = os.pathsep.join([str(programs), os.environ.get("PATH", "")])
    for step, command in commands(small).items():
        began = time.monotonic()
        found = subprocess.run(
            shlex.split(command),
            cwd=folder,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        warned = unexplained(found.stdout + found.stderr)
        if found.returncode or warned:
            said = "\n".join(warned) or (found.stdout + found.stderr)[-2000:]
            raise click.ClickException(f"{step}: {command}\nexit status {found.returncode}\n{said}")
        yield step, time.monotonic() - began


def _fresh(folder: Path) -> Path:
    """Install the package as the README says, with the CPU build of torch; the folder of its programs."""
    programs = folder / "env" / "bin"
    subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True)
    subprocess.run([str(ROOT / "tools" / "install_torch.sh"), str(programs / "python")], check=True)
    constraints = ["--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([str(programs / "python"), "-m", "pip", "install", "--quiet", *constraints, str(ROOT)], check=True)
    return programs


@click.command()
@click.option("--small", is_flag=True, help="Fits of a few steps.")
@click.option("--fresh", is_flag=True, help="Install the package into a fresh environment first.")
def main(small: bool, fresh: bool) -> None:
    """Walk the newcomer's path and print the time of each step."""
    with tempfile.TemporaryDirectory() as scratch:
        began = time.monotonic()
        programs = Path(sys.executable).parent
        if fresh:
            programs = _fresh(Path(scratch))
            click.echo(f"{time.monotonic() - began:7.1f} s  install into a fresh environment")
        for step, seconds in _walk(Path(scratch), programs, small):
            click.echo(f"{seconds:7.1f} s  {step}")
        click.echo(f"{time.monotonic() - began:7.1f} s  in all")


if __name__ == "__main__":
    main()
