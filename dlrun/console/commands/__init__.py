"""The commands, one file for each group: parse arguments, call the library, print. app.py lists them all."""
