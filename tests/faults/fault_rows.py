"""The rows of docs/reliability.md: each fault with dlrun's behaviour and the number of tests required."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One promise: the `fault`, dlrun's behaviour (`promise`), and the number of tests (`target`)."""

    fault: str
    promise: str
    target: str


FAMILIES = {
    "Crashes": range(1, 11),
    "Signals": range(11, 15),
    "Resuming": range(15, 21),
    "Damaged and hostile checkpoints": range(21, 28),
    "Configs": range(28, 32),
    "Data": range(32, 38),
    "Training": range(38, 44),
    "Sharing a folder": range(44, 50),
    "Sweeps": range(50, 54),
    "Several processes": range(54, 56),
}
WAITING = {}
ROWS = {
    "T1": Row(
        "killed at random moments, again and again",
        "resumes to the bits of the uninterrupted run",
        "400 kills",
    ),
    "T2": Row(
        "the whole process group killed",
        "the same; `dlrun runs` shows interrupted, no .tmp file stays",
        "20 kills",
    ),
    "T3": Row("a power cut", "the last completed save loads", "48 cuts, where there is root"),
    "T4": Row(
        "the order of system calls", "every file is on the disk before it gets its name", "every writer"
    ),
    "T5": Row(
        "a crash after any file is replaced", "best.pt and last.pt agree; nothing is lost", "every one"
    ),
    "T6": Row(
        "any one system call fails",
        "exit 1 with the error of the disk; the old checkpoint stays intact",
        "every call, 4 errors",
    ),
    "T7": Row("the disk is full", "the same", "2 of 2"),
    "T8": Row(
        "$TMPDIR is on another filesystem", "as T1: temporary files lie beside their target", "100 kills"
    ),
    "T9": Row(
        "a value that no checkpoint can hold", "is named when saved, or converted to plain", "every save"
    ),
    "T10": Row("a checkpoint of an older dlrun", "loads, or is refused with its version", "all releases"),
    "T11": Row(
        "Ctrl-C or SIGTERM at a random moment", "saves, shows how to resume, exits 130 or 143", "100 each"
    ),
    "T12": Row("a second Ctrl-C", "stops at once; the last completed save stays", "50"),
    "T13": Row("a signal during a save", "the save is completed", "200"),
    "T14": Row("the terminal is closed", "training continues; the log is complete", "10 of 10"),
    "T15": Row(
        "stopped at every step", "resumes to the same bits, whatever the optimizer and schedule", "every step"
    ),
    "T16": Row("evaluated more often, or never", "the learnt weights are the same", "3 of 3"),
    "T17": Row(
        "other threads, device, PyTorch or data",
        "a warning, with `--strict` a refusal; other data is always refused",
        "5 of 5",
    ),
    "T18": Row(
        "another config at resume", "is refused with the differing keys, except those that may", "every key"
    ),
    "T19": Row(
        "a run that is complete, missing or has no checkpoint", "is never silently restarted", "3 of 3"
    ),
    "T20": Row("eight processes resume one run", "one trains, the others name its process", "8 × 10"),
    "T21": Row("a damaged checkpoint", "is refused, or loads what was saved", "4,000 mutations"),
    "T22": Row("code in a checkpoint", "is never executed", "40 payloads"),
    "T23": Row("a checkpoint that unpacks to too much", "is refused quickly, in little memory", "each"),
    "T24": Row("another file under the name of a checkpoint", "is refused quickly", "each"),
    "T25": Row(
        "a checkpoint with false claims", "is refused before anything of the claimed size is made", "each"
    ),
    "T26": Row("an unsafe call in the source", "there is none", "0 found"),
    "T27": Row(
        "a name that could control a terminal, a picture or a table", "is shown as text", "each, 4 outputs"
    ),
    "T28": Row(
        "YAML that means something else than it seems",
        "is read as it seems, or refused with its line",
        "25 texts",
    ),
    "T29": Row("YAML that takes all memory or time", "is refused within a second", "each"),
    "T30": Row("an invalid key or value", "is refused with the valid ones", "every key × 6"),
    "T31": Row("a config written and read again", "is the same config", "500 configs"),
    "T32": Row("a broken table", "is refused with row and column, or read as the docs say", "each"),
    "T33": Row("a broken image", "is refused by its name, or skipped and counted", "each"),
    "T34": Row("a folder of images with anything in it", "is read as its classes say, or refused", "each"),
    "T35": Row("a hostile archive", "writes nothing outside, and no more than it may", "0 outside"),
    "T36": Row(
        "a download that is cut off, wrong or done twice", "gives one complete file, or none", "16 at once"
    ),
    "T37": Row("too few examples", "are refused before training, or reported", "each"),
    "T38": Row(
        "a loss, gradient or weight that is not finite",
        "exit 3, no file contains it; a loss stops training before the update",
        "4 × 3",
    ),
    "T39": Row(
        "figures with nan and ties", "the first of equal figures is best, nan never", "1,000 sequences"
    ),
    "T40": Row("an example that cannot be read", "ends the run with its name", "each"),
    "T41": Row("out of memory", "exit 1 with a smaller batch_size to try; last.pt is intact", "2 of 2"),
    "T42": Row(
        "one of several processes is killed, raises, ends with 0, or hangs",
        "one error of five lines at most names it; nobody is left behind, and the run goes on",
        "4 × 5",
    ),
    "T43": Row("Ray is not installed", "an error shows how to install it", "2 of 2"),
    "T44": Row("64 runs begin at once", "each has a folder with its own config", "10 × 64"),
    "T45": Row(
        "a run name with a path in it", "is refused; nothing is created outside", "30 names, 500 random"
    ),
    "T46": Row("runs listed while others write them", "never fails, locks nothing", "1,000 listings"),
    "T47": Row("stdout is full, closed, narrow or not a terminal", "training finishes, exit 0", "8 of 8"),
    "T48": Row("a picture or the log cannot be written", "a warning, exit 0", "2 of 2"),
    "T49": Row("the clock is set back", "the newest checkpoint is found by epoch, not by time", "1 of 1"),
    "T50": Row(
        "a sweep is killed at random moments, again and again",
        "resumed, it ends with the table of the uninterrupted one; no run is repeated or lost",
        "10 kills",
    ),
    "T51": Row(
        "a signal in a sweep, or one of its processes killed",
        "runs in training are saved, the others continue, and the sweep can be resumed",
        "each",
    ),
    "T52": Row(
        "two processes train one sweep, or one of its runs", "one does; the other names it, or waits", "each"
    ),
    "T53": Row("a sweep's folder is untrusted", "nothing outside of it is trained", "24 folders"),
    "T54": Row(
        "a process of several, their launcher, or all of them are killed at random moments",
        "resumed by as many the run ends in the same bits, by another number in the same figures",
        "50 kills",
    ),
    "T55": Row(
        "the cable between two machines is cut while they train a run",
        "one error within the timeout; one process goes on, to the same figures",
        "1",
    ),
}
