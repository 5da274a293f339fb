"""What the operating system gives: shared memory, locks, files that are whole or not there."""

__all__ = ["atomic_files", "crash_log", "locks", "shared_memory"]
