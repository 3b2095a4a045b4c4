"""What tests of the command line share."""

import pytest

from keras_moe.cli import main


@pytest.fixture
def run(capsys):
    """``run(*words) -> (exit code, stdout, stderr)``."""

    def call(*words):
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
