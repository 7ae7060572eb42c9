"""What a password costs: logins a second and core, and memory, for choices of Argon2id's figures.

By CPU time of this process, so that a busy machine does not change the result much.
"""

import resource
import subprocess
import sys
import time

#: (MiB, passes, lanes): OWASP's figures of equal strength, and those of Django.
CHOICES = ((7, 5, 1), (12, 3, 1), (19, 2, 1), (46, 1, 1), (64, 3, 1), (100, 2, 8))
ROUNDS = 8


def one(memory: int, passes: int, lanes: int) -> None:
    """Print the CPU seconds of a hash and the MiB by which it enlarges the process."""
    from argon2.low_level import Type, hash_secret

    def peak() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    def work() -> None:
        hash_secret(
            b"a password of a customer", b"sixteen bytes of",
            time_cost=passes, memory_cost=memory * 1024, parallelism=lanes, hash_len=32, type=Type.ID,
        )  # fmt: skip

    before = peak()
    began = time.process_time()
    for _n in range(ROUNDS):
        work()
    sys.stdout.write(f"{(time.process_time() - began) / ROUNDS} {peak() - before}")


def main() -> None:
    if len(sys.argv) > 1:
        one(*(int(argument) for argument in sys.argv[1:]))
        return
    sys.stdout.write(
        f"{'MiB':>5} {'passes':>7} {'lanes':>6} {'CPU ms':>8} {'logins/s and core':>18} {'MiB a hash':>11}\n"
    )
    for choice in CHOICES:
        command = [sys.executable, "-m", "bench.passwords", *map(str, choice)]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        seconds, memory = (float(part) for part in printed.split())
        sys.stdout.write(
            f"{choice[0]:5} {choice[1]:7} {choice[2]:6} {seconds * 1e3:8.1f} {1 / seconds:18.1f} {memory:11.1f}\n"
        )


if __name__ == "__main__":
    main()
