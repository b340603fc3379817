"""Named tasks: a dataset, a model and settings under which learning together pays.

`names` and `get` are the registry; `build` makes a whole setting of learners from
a task, so that everything that is random in it follows from one seed; `suited` fills in
what suits a task and its members.
"""

from colearn.tasks.datasets import Dataset
from colearn.tasks.registry import Task, frameworks, get, names
from colearn.tasks.setting import Setting, build
from colearn.tasks.splits import parse
from colearn.tasks.suited import Suited, suited, turns

__all__ = [
    "Dataset",
    "Setting",
    "Suited",
    "Task",
    "build",
    "frameworks",
    "get",
    "names",
    "parse",
    "suited",
    "turns",
]
