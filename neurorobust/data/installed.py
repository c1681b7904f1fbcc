"""Installed tasks: those of ``data/tasks`` and of packages under the entry point ``neurorobust.tasks``."""

from __future__ import annotations

from collections.abc import Callable

from .._util.discovery import functions
from .._util.errors import unknown
from . import tasks
from .task import Task

TASKS = "neurorobust.tasks"


def task_functions() -> dict[str, Callable[..., Task]]:
    """The function that makes each installed task, by name; it has the same name as its module.

    Raises:
        ValueError: two of them have the same name.
    """
    return functions(tasks, TASKS)


def find_task(name: str) -> Task:
    """The installed task of that name, made with its defaults.

    Raises:
        ValueError: the name is unknown; the message lists the installed tasks.
    """
    known = task_functions()
    if name not in known:
        raise unknown("task", name, known)
    return known[name]()
