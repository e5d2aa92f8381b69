"""Fixtures for every test: servers as processes of their own, and an alarm for tests that hang."""
import os
import signal
import threading

import pytest
from hypothesis import HealthCheck, settings
from serving import PROJECT, Server

# A test that takes longer has hung: it is interrupted, with its stack. Modules may set TEST_SECONDS.
TEST_SECONDS = 120

settings.register_profile("default", deadline=None, max_examples=100,
                          suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
settings.register_profile("fuzz", settings.get_profile("default"), max_examples=20_000)
settings.load_profile("default")


class Hung(BaseException):
    """The alarm. No Exception, so that no `except Exception` of a test swallows it."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Interrupt a test (with its fixtures) that takes longer than its module's TEST_SECONDS."""
    if threading.current_thread() is not threading.main_thread() or item.get_closest_marker("hypothesis") and (
            item.config.getoption("--hypothesis-profile", None) == "fuzz"):
        return (yield)
    seconds = getattr(item.module, "TEST_SECONDS", TEST_SECONDS)

    def on_alarm(signum, frame):
        raise Hung(f"{item.nodeid} took longer than {seconds} s")

    previous = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def pytest_runtest_setup(item):
    """Skip what needs root where we are not root."""
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root")


def _server_factory(tmp_path_factory):
    servers = []

    def serve(policy, **options):
        """Start a server; see `serving.Server` for the arguments."""
        server = Server(policy, tmp_path_factory.mktemp("server"), **options)
        servers.append(server)
        return server

    def finish():
        problems = []
        for server in reversed(servers):
            try:
                server.finish()
            except AssertionError as error:
                problems.append(str(error))
        assert not problems, "\n".join(problems)

    return serve, finish


@pytest.fixture
def serve(tmp_path_factory):
    """`serve(policy, settings=..., timeouts=..., limits=..., listen=..., options=...)` starts a `serving.Server`.

    At the end of the test each one gets SIGTERM, and must end cleanly: status 0, no traceback in its log.
    """
    make, finish = _server_factory(tmp_path_factory)
    yield make
    finish()


@pytest.fixture(scope="module")
def serve_module(tmp_path_factory):
    """The same for servers that all tests of a module share."""
    make, finish = _server_factory(tmp_path_factory)
    yield make
    finish()


@pytest.fixture
def server(serve, tmp_path):
    """A server with the policy mx for example.org, delivering into `tmp_path / "Maildir"`."""
    return serve("mx", settings={"domains": "example.org", "maildir": tmp_path / "Maildir"})


@pytest.fixture(scope="session")
def node_modules():
    """The folder with nodemailer in it; skips where it could not be installed."""
    folder = PROJECT / "build/interop/node_modules"
    if not (folder / "nodemailer").is_dir():
        pytest.skip("nodemailer is not installed (tests/install-packages.sh)")
    return folder
