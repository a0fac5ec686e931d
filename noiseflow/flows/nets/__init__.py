"""Networks inside transforms."""
