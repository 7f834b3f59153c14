"""Every row of the benchmark by its name, in the order of the table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tests.bench import idle, lanes, publishing, scaling
from tests.bench.line import Line
from tests.bench.moving import W1, W2, W3, Setting, Work, compared, in_turns, median_ratio, ratio_to_best
from tests.bench.outcome import Goal
from tests.bench.rclone import Rclone

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.bench.options import Options
    from tests.bench.outcome import Outcome
    from tests.bench.runs import Run
    from tests.bench.stage import Stage

    Runs = Mapping[str, Sequence[Run]]

OURS = Line()
UPLOAD_BUFFER = (
    "what holds rclone back on this route is CPU, and neither its pacer nor its transfers: Google's Go client allocates and "
    "clears an upload buffer of 16 MiB for every object, whatever its size (rclone's own pprof: 16,777,216 bytes for each of "
    "1,419 objects of 4 KiB; a third of its CPU clears memory). No flag changes it; GOGC=400 saves no CPU and doubles the memory"
)
NO_HASH = (
    "on this route rclone hashes nothing itself: it compares the MD5 that both ends state, and this server states none for what "
    "it is sent over the JSON API. Ours takes the CRC32C of every byte and has the server confirm it"
)


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    call: Callable[[Stage, Options], Outcome]
    quick: bool = False


def _moved(
    name: str,
    title: str,
    work: Work,
    setting: Setting,
    goals: Callable[[Runs], list[Goal]],
    *,
    quick: bool = False,
    note: str = "",
) -> Row:
    def call(stage: Stage, options: Options) -> Outcome:
        outcome = compared(stage, options, name, title, work=work, setting=setting, ours=[OURS], goals=goals)
        outcome.notes += [note] if note else []
        return outcome

    return Row(name, call, quick)


def _faster(wanted: float, unit: str, *more: Callable[[Runs], Goal]) -> Callable[[Runs], list[Goal]]:
    def goals(runs: Runs) -> list[Goal]:
        return [Goal(f"{unit} against rclone's best", ratio_to_best(runs, unit), wanted), *(goal(runs) for goal in more)]

    return goals


def _middle(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def _cpu_per_object(runs: Runs) -> Goal:
    return Goal("ms of CPU per object in the workers", _middle([run.cpu_per_object for run in runs["ours"]]), 0.25, False)


def _cpu_per_gib(runs: Runs) -> Goal:
    """Against the one that takes less."""
    used = {name: _middle([run.cpu_per_gib for run in found]) for name, found in runs.items()}
    return Goal("CPU per GiB as a share of rclone's", used.pop("ours") / min(used.values()), 0.5, False)


def _memory(runs: Runs) -> Goal:
    most = max(run.memory_max for run in runs["ours"])
    return Goal("MiB of peak memory in the largest process", most / 2**20, 256, False)


def _memory_of_all(runs: Runs) -> Goal:
    most = max(run.memory_sum for run in runs["ours"])
    return Goal("MiB of peak memory, both worker processes and their parent together", most / 2**20, 256, False)


def _slow(stage: Stage, options: Options) -> Outcome:
    """The default settings, equal concurrency, and rclone without a flag, once and with fewer objects: it is slow."""
    ours = [Line("ours", processes=None), Line("ours, 256 in flight", processes=2, slots=128)]
    others = [Rclone("rclone --transfers 64", ("--transfers", "64")), Rclone("rclone --transfers 256", ("--transfers", "256"))]

    def goals(runs: Runs) -> list[Goal]:
        unit = W1.unit
        return [
            Goal("our defaults against rclone --transfers 64", median_ratio(runs, unit, "ours", others[0].name), 4),
            Goal("our defaults against rclone's best", ratio_to_best(runs, unit), 1.2),
            Goal("256 in flight against rclone --transfers 256", median_ratio(runs, unit, ours[1].name, others[1].name), 1.5),
        ]

    title = "W1, 5,000 x 4 KiB, S3 to S3, 30 ms added to every request"
    setting = Setting(delay_ms=30)
    outcome = compared(stage, options, "w1-30ms", title, work=W1, setting=setting, ours=ours, goals=goals, others=others)
    (plain,) = in_turns(stage, [Rclone("rclone without flags", ())], Work(400, W1.size), setting, 1).values()
    outcome.notes.append(
        f"rclone without any flag (4 transfers): {plain[0].objects_per_second:.0f} objects/s, one run of 400 objects"
    )
    return outcome


def _faulty(stage: Stage, options: Options) -> Outcome:
    setting = Setting(fail_percent=1)
    others = [Rclone("rclone", ("--transfers", "64"))]
    return scaling.only(stage, options, "w1-faults", "W1, S3 to S3, 1 % of requests fail", W1, setting, [OURS, *others])


W3_GOALS = (_cpu_per_gib, _memory, _memory_of_all)
ROWS = (
    _moved("w1-s3", "W1, 5,000 x 4 KiB, S3 to S3", W1, Setting(), _faster(1.5, W1.unit, _cpu_per_object), quick=True),
    _moved("w1-gcs", "W1, 5,000 x 4 KiB, S3 to GCS", W1, Setting("gcs"), _faster(5, W1.unit), quick=True, note=UPLOAD_BUFFER),
    Row("w1-30ms", _slow),
    _moved("w2", "W2, 500 x 1 MiB, S3 to S3", W2, Setting(), _faster(1.1, W2.unit), quick=True),
    _moved("w3", "W3, 4 x 512 MiB, S3 to S3", W3, Setting(), _faster(1.5, W3.unit, *W3_GOALS), quick=True),
    _moved("w2-gcs", "W2, 500 x 1 MiB, S3 to GCS", W2, Setting("gcs"), _faster(1.1, W2.unit), note=UPLOAD_BUFFER),
    _moved("w3-gcs", "W3, 4 x 512 MiB, S3 to GCS", W3, Setting("gcs"), _faster(1.5, W3.unit, *W3_GOALS), note=NO_HASH),
    _moved("w1-tls", "W1, S3 to S3 over TLS", W1, Setting(tls=True), _faster(2, W1.unit)),
    _moved("w2-tls", "W2, S3 to S3 over TLS", W2, Setting(tls=True), _faster(1.2, W2.unit)),
    _moved("w3-tls", "W3, S3 to S3 over TLS", W3, Setting(tls=True), _faster(1.2, W3.unit)),
    Row("w1-faults", _faulty),
    Row("workers", scaling.workers),
    Row("concurrency", scaling.concurrency),
    Row("latency", scaling.latency),
    Row("lanes", lanes.lanes),
    Row("publish", publishing.publish),
    Row("sweep", publishing.sweep),
    Row("reconcile", publishing.reconcile),
    Row("cache", publishing.cache),
    Row("idle-redis", partial(idle.idle, "redis")),
    Row("idle-pubsub", partial(idle.idle, "pubsub")),
)


def chosen(names: str | None, *, quick: bool) -> list[Row]:
    """The rows of these names, separated by commas; without names all of them, or the quick ones."""
    if names is None:
        return [row for row in ROWS if row.quick or not quick]
    known = {row.name: row for row in ROWS}
    unknown = [name for name in names.split(",") if name not in known]
    if unknown:
        raise SystemExit(f"no row is called {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[name] for name in names.split(",")]
