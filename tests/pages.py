"""Reads what a server says on its --metrics address."""
import socket
import urllib.error
import urllib.request

from prometheus_client.parser import text_string_to_metric_families


class Pages:
    """The pages of a server."""

    def __init__(self, server):
        line, = [line for line in server.log_lines if "metrics on " in line]
        self.port = int(line.rpartition(":")[2])

    def get(self, path, **headers):
        """(status, text)"""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def numbers(self):
        """{name{label values}: value} of all samples."""
        status, text = self.get("/metrics")
        assert status == 200
        return {(sample.name.removeprefix("mailfilter_"), *sorted(sample.labels.values())): sample.value
                for family in text_string_to_metric_families(text) for sample in family.samples}

    def raw(self, octets):
        """The answer to these octets."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as client:
            client.sendall(octets)
            answer = b""
            while data := client.recv(65536):
                answer += data
        return answer
