"""The ClientApp of a silo: it answers the questions of a coordinator."""

from __future__ import annotations

import logging

from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS

from lastaisle.federation.flower.records import answer, asked
from lastaisle.federation.flower.secure import answer_masked
from lastaisle.federation.silo import Silo, SiloRefusedError

FAILED = 100
"""The code of an error that a silo tells."""

logger = logging.getLogger(__name__)


def client_app(silo: Silo) -> ClientApp:
    """Return the app that answers for a silo."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        try:
            if RECORD_KEY_CONFIGS in message.content.config_records:
                return answer_masked(message, context, silo)
            agreement, number, weights, popularity = asked(message.content)
            if '"aggregation": "secure"' in agreement:
                raise SiloRefusedError("the coordinator asked for a plain update in a secure training")
            return Message(answer(silo.answer(agreement, number, weights, popularity)), reply_to=message)
        except Exception as error:
            # The text may name files or counts of the silo, so only the kind leaves it.
            logger.exception("the silo cannot answer")
            reason = f"{type(error).__name__}; the log of the silo says why"
            return Message(Error(code=FAILED, reason=reason), reply_to=message)

    return app
