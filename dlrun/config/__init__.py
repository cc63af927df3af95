"""YAML to one frozen Config: keys, parts and their options, inheritance, overrides, every mistake at once."""
