"""Every interval of a whole calibration, in a small form; `python -m tools.studies.coverage` is the full one."""

from tools.studies.coverage import coverage

TRIALS = 16


def test_no_interval_is_far_too_narrow():
    held = {name: part for name, (part, _, _) in coverage(TRIALS).items()}
    # 12 of 16 or fewer at 95 %: 0.1 % by chance for one parameter, 2 % for all; the seeds are fixed.
    assert all(part > 12 / TRIALS for part in held.values()), held
