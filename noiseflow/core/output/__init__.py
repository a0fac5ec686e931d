"""The one way to write: check before any work, one writer at a time, whole or not there, replace only what is ours."""
