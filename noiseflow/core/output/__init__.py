"""Write outputs safely: check before any work, lock, write atomically, and replace only what noiseflow wrote."""
