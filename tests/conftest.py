pytest_plugins = [
    "tests.plugins.engine",
    "tests.plugins.parts",
    "tests.plugins.simulator",
    "tests.plugins.tally",
]
