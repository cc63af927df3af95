"""The start of `dlrun`, which `python -m dlrun` is too."""

import signal
from typing import NoReturn


def main() -> NoReturn:
    """The command line, which Ctrl-C ends at once: training, which has something to save, heeds it itself."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from dlrun import cli  # what it imports takes long enough for a Ctrl-C

    cli.main()


if __name__ == "__main__":
    main()
