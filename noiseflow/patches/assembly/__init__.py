"""How a store is put together from parts."""
