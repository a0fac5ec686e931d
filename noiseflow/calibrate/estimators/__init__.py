"""Statistical estimators shared by the measurements."""
