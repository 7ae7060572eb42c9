"""Django's database backend for PostgreSQL with limits: no statement waits for a database that no longer answers.

A fail-over or a firewall may leave connections that never answer again and are never closed. Without limits, each of
them holds a thread until the kernel gives up, which takes minutes. The parts:

- `budgets`: limits that PostgreSQL applies (statement, lock, idle in transaction), and how long statements may take.
- `watchdog`: finds out whether the database answers, when a statement waits for longer than usual.
- `clock`: the database's clock, for what waits for a time.
- `online_indexes`: indexes that migrations add beside writes.
- `base`: the backend. It checks connections before they are used, and ends waits if the database does not answer.
"""

from hitobit_portal.database import clock
from hitobit_portal.database.budgets import is_timeout, limit_statements, statement_budget
from hitobit_portal.database.watchdog import is_down

__all__ = ["clock", "is_down", "is_timeout", "limit_statements", "statement_budget"]
