#!/bin/sh
# Install torch into the environment of a Python: the version that constraints.txt pins, another, or the newest.
#
#   tools/install_torch.sh .venv/bin/python
#   tools/install_torch.sh .venv/bin/python 2.4
#   tools/install_torch.sh .venv/bin/python newest
#
# On Linux and Windows the plain wheel of the package index brings several gigabytes of CUDA
# libraries.  Without an NVIDIA GPU they are of no use: take the CPU build, from the configured
# index if it has one, else from PyTorch's own.  On macOS the plain wheel is the CPU build.
set -eu
python=$1
root=$(cd "$(dirname "$0")/.." && pwd)
pinned=$(sed -n 's/^torch==//p' "$root/constraints.txt")
version=${2:-$pinned}

install() {
    # The constraints pin torch itself: another version cannot obey them.
    if [ "$version" = "$pinned" ]; then set -- --constraint "$root/constraints.txt" "$@"; fi
    "$python" -m pip install --disable-pip-version-check "$@"
}

installed=$("$python" -c 'import importlib.metadata as m; print(m.version("torch"))' 2>/dev/null || true)
if [ "$version" = newest ]; then
    # The newest release of the configured index, whatever it was built for.
    install --upgrade torch
elif [ "${installed%%+*}" = "$version" ]; then
    echo "torch $installed is installed"
elif command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi >/dev/null 2>&1; then
    echo "An NVIDIA GPU is here: torch $version with its CUDA libraries (several GB)."
    install "torch==$version"
elif [ "$(uname -s)" = Darwin ]; then
    install "torch==$version"
elif install "torch==$version+cpu"; then
    :
elif echo "The configured index has no CPU build; asking PyTorch's own." && install "torch==$version+cpu" --extra-index-url https://download.pytorch.org/whl/cpu; then
    :
else
    echo "NOTICE: no CPU build of torch $version could be had; installing the plain wheel," >&2
    echo "NOTICE: which on Linux downloads several GB of CUDA libraries. Ctrl-C to stop." >&2
    install "torch==$version"
fi
