"""What is measured of a sensor, one quantity a file."""
