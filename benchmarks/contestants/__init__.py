"""Those whom dlrun is measured against: each a program that prints one line of JSON about itself."""
