"""Simultaneous requests in one forward pass."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any

from ruri_kedro.service.refusals import Refusal


class Batcher:
    """Work that is done for many items at once, up to `size`, on a thread of `pool`.

    Nothing waits for others to come: what has come while a batch was at work is the next batch. More than `limit` items
    that wait are refused. It belongs to one event loop.
    """

    def __init__(
        self,
        work: Callable[[list], Sequence],
        size: int,
        limit: int,
        pool: Executor,
        told: Callable[[int], object] = lambda size: None,
    ) -> None:
        self._work, self._size, self._limit, self._pool, self._told = work, size, limit, pool, told
        self._waiting: deque[tuple[Any, asyncio.Future]] = deque()
        self._worker: asyncio.Task | None = None

    async def __call__(self, items: Sequence[Any]) -> list[Any]:
        """The result for each item. Raises Refusal where too many wait, else what the work raises."""
        if len(self._waiting) + len(items) > self._limit:
            raise Refusal(503, "too many texts wait for the model. Ask again in a moment.", retry_after=1)
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in items]
        self._waiting.extend(zip(items, futures, strict=True))
        if self._worker is None or self._worker.done():
            self._worker = loop.create_task(self._run())
        # A request that is given up cancels its futures; what has not begun is then left out.
        return list(await asyncio.gather(*futures))

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = self._next()
            if not batch:
                continue
            self._told(len(batch))
            try:
                results = await loop.run_in_executor(self._pool, self._work, [item for item, _ in batch])
            except Exception as error:
                outcome = [(future, future.set_exception, error) for _, future in batch]
            else:
                pairs = zip(batch, results, strict=True)
                outcome = [(future, future.set_result, result) for (_, future), result in pairs]
            for future, settle, value in outcome:
                if not future.done():
                    settle(value)

    def _next(self) -> list[tuple[Any, asyncio.Future]]:
        batch: list[tuple[Any, asyncio.Future]] = []
        while self._waiting and len(batch) < self._size:
            item, future = self._waiting.popleft()
            if not future.done():
                batch.append((item, future))
        return batch
