"""The commands, one file for each group of them: parse, call, print."""
