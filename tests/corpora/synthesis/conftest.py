import pytest
from chat_server import ChatServer


@pytest.fixture
def server():
    made = ChatServer()
    yield made
    made.close()
