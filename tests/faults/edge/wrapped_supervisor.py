"""The edge's supervisor, with its workers started through a wrapper instead of the interpreter:

    python -m tests.faults.edge.wrapped_supervisor WRAPPER [arguments of python -m edge]

Everything else is the edge as it is really started.
"""

import runpy
import sys

if __name__ == "__main__":
    sys.executable = sys.argv.pop(1)
    runpy.run_module("edge", run_name="__main__", alter_sys=True)
