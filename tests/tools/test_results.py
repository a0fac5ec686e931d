"""The page of results is what the benchmark makes: with a tiny spec, on made data."""

from pathlib import Path

from click.testing import CliRunner

from tools.results import main

SPEC = """
[[data]]
name = "PG-12"
camera = "PG-12"
isos = [100]
scenes = 10
size = [128, 192]
[[model]]
name = "nlf"
"""


def test_a_tiny_spec_makes_the_page(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(SPEC, encoding="utf-8")
    arguments = [
        tmp_path / "results.md",
        "--spec",
        tmp_path / "tiny.toml",
        "--data",
        tmp_path,
        "--work",
        tmp_path / "w",
    ]
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    page = (tmp_path / "results.md").read_text("utf-8")
    assert "noiseflow benchmark tiny.toml --out results" in page
    assert "| nlf | " in page
    assert "NLL of the fitted `nlf` minus that of the oracle, by light" in page
    assert "| model | bins | variance, lowest to highest | within 2 % | kurtosis | within 5 % |" in page
    # Nothing of real data, where there is none.
    assert "golden" not in page
