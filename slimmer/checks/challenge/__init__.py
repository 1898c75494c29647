"""The challenge: what is kept is asked, in the fat root and in the slim one, what no exercise asked; differences count.

questions.py says what to ask, programs.py and modules.py of what is kept, drivers.py how languages import;
ask.py asks in a root, differences.py compares, run.py puts it together. `check` and the pipeline use it.
"""
