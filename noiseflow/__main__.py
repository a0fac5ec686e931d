"""``python -m noiseflow``."""

from noiseflow.cli import main

if __name__ == "__main__":
    main(prog_name="noiseflow")
