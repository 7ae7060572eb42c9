"""Argon2id as in production, with the least memory and time: a password costs 0.1 ms and not 100."""

from django.contrib.auth.hashers import Argon2PasswordHasher


class QuickArgon2(Argon2PasswordHasher):
    time_cost = 1
    memory_cost = 8
    parallelism = 1
