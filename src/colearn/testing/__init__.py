"""Checks for your own learner, ledger, board or store; and learners that attack.

Each check takes a function that makes a fresh one, and raises an `AssertionError`
that names the broken promise. They need no test framework.

Example:
    ```python
    from colearn.testing import check_learner

    check_learner(lambda: MyLearner(my_data))
    ```
"""

from colearn.testing.board import check_board
from colearn.testing.learner import check_learner
from colearn.testing.ledger import check_ledger
from colearn.testing.store import check_store

__all__ = ["check_board", "check_learner", "check_ledger", "check_store"]
