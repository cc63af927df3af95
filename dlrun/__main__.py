"""`python -m dlrun` is `dlrun`."""

from dlrun.cli import main

if __name__ == "__main__":
    main()
