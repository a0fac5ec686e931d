"""Studies of the two-sample tests, and the table of everybody's noise."""
