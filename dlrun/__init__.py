"""dlrun: one YAML file in, one reproducible run folder out."""

__version__ = "0.1.0"
