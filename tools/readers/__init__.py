"""Reading of raw files: fuzzed, decoded, written like those of SIDD, and step by step."""
