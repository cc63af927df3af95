"""Config files: YAML becomes one frozen Config; here are its keys, the registry of parts, and all checks."""
