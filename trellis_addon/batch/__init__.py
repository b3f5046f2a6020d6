"""Folders of pictures to .blend files: by one process, or by many on one shared folder.

rows       a picture of a folder, and what has become of it
run        ... to one .blend, by one process: `batch FOLDER --output FILE.blend`, `--shard I/N`
scenes     what is made into a .blend: imported, held against a contract, laid out, saved

presence   whether a process of this machine still lives
lease      who works on what, by files in a shared folder
shared     the folder in which many processes leave what they have made
turn       one of many writes to a .blend at a time
worker     one of these processes: `batch FOLDER --shared`
collect    what they have made, in one .blend or in parts: `batch FOLDER --collect FILE.blend`
report     what has become of a folder, as JSON, CSV and HTML
"""

from .rows import Row
from .run import run_batch

__all__ = ["Row", "run_batch"]
