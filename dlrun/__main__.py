"""The start of `dlrun`, which `python -m dlrun` is too."""

import signal
from typing import NoReturn


def main() -> NoReturn:
    """The command line, which Ctrl-C ends at once: training, which has something to save, heeds it itself."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from dlrun.console.commands import app  # what it imports takes long enough for a Ctrl-C

    app.main()


if __name__ == "__main__":
    main()
