"""How many threads torch computes with."""

import os

import torch


def set_threads(threads: int) -> None:
    """Let torch use `threads` threads; 0: all cores that this process may use, shared among a machine's ranks."""
    if threads == 0:
        threads = max(1, len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
    torch.set_num_threads(threads)
