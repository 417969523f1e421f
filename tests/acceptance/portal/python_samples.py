"""Runs Python samples one after another in one process, each in a namespace of its own.

A program: a JSON list of samples in, a JSON list of what each printed, or of its traceback, out.
"""

import contextlib
import io
import json
import sys
import traceback

results = []
for sample in json.load(sys.stdin):
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(sample, "sample", "exec"), {"__name__": "__main__"})
        results.append({"printed": printed.getvalue(), "failed": ""})
    except Exception:
        results.append({"printed": printed.getvalue(), "failed": traceback.format_exc()})
sys.stdout.write(json.dumps(results))
