"""Run folders, published weights, export."""
