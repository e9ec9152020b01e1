"""`python -m libperf`: the same as the `libperf` command."""

import sys

from libperf.cli import main

sys.exit(main())
