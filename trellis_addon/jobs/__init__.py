"""Durable jobs: a task from the moment somebody wants it to the moment its files are here.

job      a job and its states
rows     a row of the table of jobs, and what of it is JSON
records  what is known of a job without the database
store    where all of them are kept
runner   one job from waiting to ready: send, poll, download, check
money    what jobs cost, and how much the user allows
"""

from ..core.folders import default_folder
from .job import Asset, Job, State
from .runner import run_job
from .store import JobStore

__all__ = ["Asset", "Job", "JobStore", "State", "default_folder", "run_job"]
