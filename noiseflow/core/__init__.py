"""What every room uses: errors, units, progress, the version."""
