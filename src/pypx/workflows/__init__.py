"""A verb per module: typed in, typed out."""
