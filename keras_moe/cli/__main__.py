"""``python -m keras_moe.cli``."""

import sys

from keras_moe.cli import main

sys.exit(main())
