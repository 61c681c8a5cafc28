"""The JSON shapes of pypx 3, in both directions."""
