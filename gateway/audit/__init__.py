"""What a gateway notes in its audit: of streams, requests and refusals."""
