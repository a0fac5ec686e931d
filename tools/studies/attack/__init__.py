"""Attack the commands that write: equal ones at once, kills, interrupts and a full disk, and see what is left."""
