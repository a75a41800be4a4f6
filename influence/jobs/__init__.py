"""Work that goes on while nobody looks: jobs are rows of the project's catalogue, done by one worker process per project."""

from influence.jobs.job import Job
from influence.jobs.queue import cancel, get, listed, metrics, pause, restart, resume, submit, wake

__all__ = ["Job", "cancel", "get", "listed", "metrics", "pause", "restart", "resume", "submit", "wake"]
