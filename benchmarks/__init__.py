"""What is measured of dlrun itself."""
