"""Becomes a command that the kernel kills when its parent dies; run as a script by TrainerProcess.

The arguments are the process ID of the parent and the command. The SDK does the same, but not every
program uses it. On systems other than Linux, only the closed stdin tells it that
the parent has exited.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit("The worker ended before its program started.")
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
