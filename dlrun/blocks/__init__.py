"""Building blocks shared by parts: activations, flattened input sizes, one-hot classes."""
