"""Taking recorded runs out of the store, and back in."""
