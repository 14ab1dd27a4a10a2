"""`python -m ecg_edge.train COMMAND ...`: the command line under a name that torchrun can start."""

import sys

from ecg_edge.runtime.cli.main import main

sys.exit(main())
