"""The start of `dlrun`, which `python -m dlrun` is too."""

import atexit
import gc
from typing import NoReturn

from dlrun.system.signals import end_at_ctrl_c


def main() -> NoReturn:
    """Run the command line. Ctrl-C ends it at once, except while a run trains, which is saved first."""
    end_at_ctrl_c()
    atexit.register(gc.freeze)  # or Python would search all of PyTorch's objects for cycles as it ends
    from dlrun.console.commands import app  # what it imports takes long enough for a Ctrl-C

    app.main()


if __name__ == "__main__":
    main()
