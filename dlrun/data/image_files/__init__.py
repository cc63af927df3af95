"""Image files: found, decoded, resized and kept as examples."""
