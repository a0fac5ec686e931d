"""Files of ours that are well formed and lie: no foreign exception, and no other number without a word."""

from pathlib import Path

import pytest

from tools.readers.fuzz_own import ALL_KINDS, Way, fuzz

CASES = 40


@pytest.mark.parametrize("resealed", [False, True], ids=["as they are", "with checksums that fit"])
@pytest.mark.parametrize("kind", ["profile", "prior", "body", "manifest", "results", "replaced", "side-car", "table"])
def test_lies_are_found_or_harmless(tmp_path: Path, kind: str, resealed: bool) -> None:
    made = ALL_KINDS[kind](tmp_path / "made")
    tally = fuzz(made, CASES, 3, tmp_path / "box", [], Way(structured=True, resealed=resealed))
    assert tally.failures == []
    assert sum(tally.outcomes.values()) == CASES
    # The mutator does mutate.
    assert tally.outcomes["refused"] + tally.outcomes["read"] >= CASES // 4
