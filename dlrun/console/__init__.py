"""The command line and everything that is printed; no other folder imports typer or rich."""
