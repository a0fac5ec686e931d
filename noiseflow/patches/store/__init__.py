"""Reading a store: patches, mixtures, order."""
