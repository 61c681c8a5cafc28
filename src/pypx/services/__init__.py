"""One module per program or server that px talks to."""
