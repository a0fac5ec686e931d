"""Builds the kernels that a wheel carries, where there is a compiler; all metadata stands in setup.cfg."""

import importlib.util
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist
from setuptools.dist import Distribution

ROOT = Path(__file__).resolve().parent
HOME = os.environ.get("NOISEFLOW_HOME", "").rstrip("/")
"""Address below which the files of the repository can be read, such as https://example.org/noiseflow/blob/v0.1.0."""

LIBRARIES = Path("noiseflow", "ops", "libraries")


def rules():
    """The module that knows the compiler's commands; the package itself cannot be imported yet."""
    spec = importlib.util.spec_from_file_location("command", ROOT / LIBRARIES / "command.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def builds_kernels():
    """The compiler's words, or None with one line that says why there are none."""
    wanted = os.environ.get("NOISEFLOW_WHEEL", "")
    if wanted == "pure" or sys.platform == "win32":
        print("noiseflow: a wheel without kernels; layers run on PyTorch's own operations", file=sys.stderr)
        return None
    try:
        found = rules().compiler()
    except OSError as error:
        sys.exit(f"noiseflow: {error}")
    if found is None:
        print("noiseflow: no C++ compiler (g++, clang++, CXX): a wheel without kernels", file=sys.stderr)
    return found


def readme():
    """The README for a page that is not the project's home: links to files lead there, or are plain words."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    if HOME:
        return re.sub(r"\]\((?!https?:|#)", f"]({HOME}/", text)
    text = re.sub(r"^!\[[^\]]*\]\((?!https?:)[^)]*\)\n", "", text, flags=re.M)
    return re.sub(r"\[([^\]]*)\]\((?!https?:|#)[^)]*\)", r"\1", text)


class BuildPy(build_py):
    """Copies the package and builds the kernels; an editable install builds its kernels when it needs them."""

    def run(self):
        """Copy, then build."""
        super().run()
        compiler = None if self.editable_mode else builds_kernels()
        if compiler is not None:
            self.kernels(compiler)

    def kernels(self, compiler):
        """Build each form for each kind of processor."""
        command = rules()
        work = []
        for kind in command.PROCESSORS.get(command.machine(), {}):
            folder = Path(self.build_lib) / LIBRARIES / command.BUILT.name / kind
            folder.mkdir(parents=True, exist_ok=True)
            for files, macros in command.forms():
                library = folder / command.library_name(files, macros)
                work.append(command.commands_for_a_wheel(compiler, files, macros, kind, library))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(run_all, work))
        for left in (Path(self.build_lib) / LIBRARIES).rglob("*.o"):
            left.unlink()


def run_all(commands):
    """Run the commands that make one library."""
    for words in commands:
        done = subprocess.run(words, capture_output=True, text=True)  # noqa: S603
        if done.returncode:
            sys.exit(f"noiseflow: {' '.join(words)}\n{done.stderr}\nA wheel without kernels: NOISEFLOW_WHEEL=pure")


class BdistWheel(bdist_wheel):
    """One wheel for all Pythons; of one platform where it carries kernels."""

    def finalize_options(self):
        """Say whether it is pure."""
        super().finalize_options()
        self.root_is_pure = builds_kernels() is None

    def get_tag(self):
        """The tag of the platform, but of no Python's."""
        return "py3", "none", super().get_tag()[2]


class Platform(Distribution):
    """A distribution whose files go where those of one platform go, if it has kernels."""

    def has_ext_modules(self):
        """Whether there is something of this platform."""
        return builds_kernels() is not None


class Sdist(sdist):
    """Everything that the tests and the pages need, so that a distribution can be packaged from it."""

    def make_distribution(self):
        """Add what setuptools does not find by itself."""
        for folder in ("tests", "tools", "docs", "datasets", ".ci", ".github"):
            self.filelist.extend(
                str(path.relative_to(ROOT))
                for path in sorted((ROOT / folder).rglob("*"))
                if path.is_file() and "__pycache__" not in path.parts
            )
        self.filelist.extend(["CHANGELOG.md", "CITATION.cff", "Makefile", "constraints.txt", "mkdocs.yml"])
        super().make_distribution()


setup(
    cmdclass={"build_py": BuildPy, "bdist_wheel": BdistWheel, "sdist": Sdist},
    distclass=Platform,
    long_description=readme(),
    long_description_content_type="text/markdown",
    project_urls={"Documentation": f"{HOME}/docs", "Changelog": f"{HOME}/CHANGELOG.md"} if HOME else {},
)
