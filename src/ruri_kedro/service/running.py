"""The service while it runs: what it serves now, and the look at the registry from time to time."""

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from ruri_kedro.service.blind import BlindVotes
from ruri_kedro.service.deployment import Deployment, Loader
from ruri_kedro.service.judgments import Judgments
from ruri_kedro.service.metrics import Metrics
from ruri_kedro.service.rankings import Searching
from ruri_kedro.service.selection import Chosen, Selection
from ruri_kedro.service.settings import ServiceSettings

logger = logging.getLogger(__name__)


@dataclass
class Service:
    """A deployment that follows the registry."""

    settings: ServiceSettings
    selection: Selection
    loader: Loader
    deployment: Deployment
    metrics: Metrics
    judgments_folder: Path
    judgments: Judgments = field(init=False)
    votes: BlindVotes = field(init=False)

    def __post_init__(self) -> None:
        documents = self.deployment.documents
        folder = self.judgments_folder / documents.name
        self.judgments = Judgments(folder, documents)
        self.votes = BlindVotes(folder / "votes.log")

    @property
    def searching(self) -> Searching:
        """A search in what is served now."""
        return Searching(self.deployment, self.loader.pools, self.settings)

    async def follow(self) -> None:
        """Take over what the registry calls the best, until cancelled. What hinders that is told once."""
        told = ""
        failed: dict[str, Chosen] | None = None
        while self.selection.asks_registry:
            await asyncio.sleep(self.settings.poll_s)
            try:
                chosen = await asyncio.to_thread(self.selection.now)
                if chosen in ({place: served.chosen for place, served in self.deployment.places.items()}, failed):
                    continue
                failed = chosen
                self.deployment = await asyncio.to_thread(self.loader.load, chosen, self.deployment)
            except Exception as error:  # of the registry, its files, a model: the service goes on with what it has
                if str(error) != told:
                    told = str(error)
                    logger.warning("what is served stays as it is: %s", error)
                continue
            told, failed = "", None
            self.metrics.swap()
            now = ", ".join(f"{place} {label}" for place, label in self.deployment.labels().items())
            logger.warning("serving now: %s", now)


async def _of_app(request: Request) -> Service:
    return request.app.state.service


Running = Annotated[Service, Depends(_of_app)]  # what a route asks for
