"""uvicorn's HTTP protocol, with our envelope where a request cannot even be read."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from management.api import envelope
from management.errors import VALIDATION, Refusal


class EnvelopeProtocol(HttpToolsProtocol):
    def send_400_response(self, msg: str) -> None:
        """Bytes that are no HTTP: the error envelope, then the connection ends."""
        body = bytes(envelope.failure(Refusal(VALIDATION, "The request is not valid HTTP")).body)
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncache-control: no-store\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(body), body)
        )
        self.transport.close()
