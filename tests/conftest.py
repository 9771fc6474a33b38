import signal

pytest_plugins = [
    "tests.plugins.engine",
    "tests.plugins.parts",
    "tests.plugins.simulator",
    "tests.plugins.tally",
]


def pytest_configure() -> None:
    # Where a shell has started the tests in the background they ignore Ctrl-C, and so would the
    # programs that they start and interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
