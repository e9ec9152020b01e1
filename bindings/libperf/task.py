"""A number for the asyncio task that runs now."""

import sys


def task_id() -> int:
    """32 bits that differ between tasks alive at one time; 0 outside a task. Does not import asyncio."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return 0
    loop = asyncio._get_running_loop()
    task = loop and asyncio.current_task(loop)
    return (id(task) >> 4) & 0xFFFFFFFF if task else 0
