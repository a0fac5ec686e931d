"""Read files that noiseflow wrote: parse strictly, check against a schema, and only then use the values."""
