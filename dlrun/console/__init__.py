"""The command line and all that is printed: the only folder that knows typer and rich."""
