"""One process of an `AnalysisPool`: `python -m inpaint_hpc.pipeline.analysis_process FILE_DESCRIPTOR`

It reads functions and items from a pipe, and writes what becomes of them, until the pipe is closed.  The
owner made the pipe for it, and nobody else can open it, so that both may trust what they unpickle.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import pickle
import signal
import sys
import traceback
from multiprocessing.connection import Connection

from inpaint_hpc.environment import end_with_parent
from inpaint_hpc.pipeline.analysis_pool import Answer

WARM = 16  # items after which all modules are imported


def serve(pipe: Connection) -> None:
    """Answer until the pipe is closed."""
    # Signals to all processes of a job or terminal are for the owner, which ends this one when it is done.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    end_with_parent(signal.SIGKILL)
    with contextlib.suppress(EOFError, OSError):
        pipe.send_bytes(b"here")
        for answered in itertools.count(1):
            message = pipe.recv_bytes()
            try:
                answer = pickle.dumps(_answer(message))
            except Exception as error:  # a result that cannot be pickled
                answer = pickle.dumps(_failure(error))
            pipe.send_bytes(answer)
            if answered == WARM:
                # Looking through all modules for garbage again and again took 0.4 ms per item.
                gc.collect()
                gc.freeze()


def _answer(message: bytes) -> Answer:
    try:
        function, item = pickle.loads(message)
        return Answer(function(item))
    except Exception as error:
        return _failure(error)


def _failure(error: Exception) -> Answer:
    trace = traceback.format_exc()
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    return Answer(error=error, trace=trace)


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
