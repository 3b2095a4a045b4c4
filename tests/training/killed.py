"""Trainings that end by SIGKILL at a moment that does not depend on how fast the machine is."""

import os
import pathlib
import signal
import subprocess
import sys

SCRIPT = """
import os, signal, sys
sys.path[:0] = {folders!r}
from keras_moe.training import Checkpoint
save = Checkpoint.save

def save_and_die(self, model, progress, optimizer=None):
    save(self, model, progress, optimizer)
    if {is_last}:
        os.kill(os.getpid(), signal.SIGKILL)

Checkpoint.save = save_and_die
{run}
"""


def run_until_saved(run, is_last, *arguments):
    """Runs Python code in a process that kills itself once it has saved a checkpoint for which ``is_last`` holds.

    Args:
        run: str, the code; it imports from the tests and reads ``sys.argv``.
        is_last: str, an expression of the checkpoint ``self`` and of what it saved, ``progress``.
        arguments: of the process.
    """
    folders = [str(folder) for folder in pathlib.Path(__file__).parents[:2]]
    script = SCRIPT.format(folders=folders, is_last=is_last, run=run)
    process = subprocess.run([sys.executable, "-c", script, *map(str, arguments)], env=os.environ, check=False)
    assert process.returncode == -signal.SIGKILL, "the run ended, or failed, before it could be killed"
