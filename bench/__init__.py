"""What an exchange costs: `python -m bench`, or `make bench`.

stage.py       engines, gateway, worker and upstream, started for the run and stopped after it
upstream.py    an upstream that plays recorded answers; recorded.py takes them from the simulator
load.py        the load: keep-alive connections that ask again as soon as they are answered
proc.py        what the kernel says a process has used
cases/         what is measured, a function for each
results.py     figures as values; table.py and charts.py show them

Timings never pass or fail: targets are printed beside what was measured.
"""
