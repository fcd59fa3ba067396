"""When the watchdog lets a client run, has it replaced, and gives up."""

from __future__ import annotations

from coordinator.kafka import Action, Observation, Watchdog

STILL = Observation(positions={0: 5, 1: 9}, end_offsets={0: 8, 1: 9})
SILENT = Observation(positions={}, end_offsets=None)


def at(position: int, end: int = 8) -> Observation:
    """Observe one partition."""
    return Observation(positions={0: position}, end_offsets={0: end})


def test_a_reader_that_is_not_behind_may_rest() -> None:
    """Nothing to read is no stall, however long it lasts."""
    dog = Watchdog(stall_s=30)
    assert all(dog.observe(now, at(8)).action is Action.OK for now in range(0, 1000, 10))


def test_progress_is_fine_however_slow() -> None:
    """A partition that moves within the stall time is left alone, though it never catches up."""
    dog = Watchdog(stall_s=30)
    assert all(dog.observe(29.0 * n, at(n, 1000)).action is Action.OK for n in range(100))


def test_a_stalled_reader_is_rebuilt_then_given_up() -> None:
    """Behind without progress: rebuild after the stall time, once more, then exit, each with a sentence."""
    dog = Watchdog(stall_s=30, rebuilds=2)
    verdicts = {now: dog.observe(now, STILL) for now in range(0, 100, 10)}
    assert [now for now, verdict in verdicts.items() if verdict.action is Action.REBUILD] == [30, 60]
    assert verdicts[30].reason == "partition 0 ends at 8 and has stood at 5 for 30 s"
    assert verdicts[90].action is Action.EXIT
    assert "2 rebuilds have not helped" in verdicts[90].reason


def test_one_stalled_partition_is_seen_among_flowing_ones() -> None:
    """The progress of other partitions does not hide the one that stands still."""
    dog = Watchdog(stall_s=30)
    verdicts = [
        dog.observe(now, Observation(positions={0: now, 1: 3}, end_offsets={0: 10**6, 1: 4}))
        for now in range(0, 31, 10)
    ]
    assert [verdict.action for verdict in verdicts] == [Action.OK] * 3 + [Action.REBUILD]
    assert verdicts[3].reason.startswith("partition 1 ")


def test_a_rebuild_that_helped_is_forgotten() -> None:
    """Only rebuilds in a row lead to an exit: once the partition has moved, counting starts anew."""
    dog = Watchdog(stall_s=30, rebuilds=2)
    now, rebuilds = 0.0, 0
    for position in range(10):
        dog.observe(now, at(position, 1000))
        now += 30
        rebuilds += dog.observe(now, at(position, 1000)).action is Action.REBUILD
    assert rebuilds == 10


def test_a_partition_that_left_is_forgotten() -> None:
    """A partition that stalled and now belongs to another member neither rebuilds nor exits."""
    dog = Watchdog(stall_s=30, rebuilds=1)
    dog.observe(0, STILL)
    assert dog.observe(30, STILL).action is Action.REBUILD
    elsewhere = Observation(positions={1: 9}, end_offsets={1: 9})
    assert all(dog.observe(now, elsewhere).action is Action.OK for now in range(31, 200, 10))
    assert dog.observe(200, STILL).action is Action.OK
    assert dog.observe(230, STILL).action is Action.REBUILD


def test_kafka_away_is_no_stall_and_no_exit() -> None:
    """While Kafka does not answer nothing counts as a stall; the client is replaced now and then, never given up."""
    dog = Watchdog(stall_s=30, unreachable_s=60, rebuilds=2)
    dog.observe(0, STILL)
    actions = [dog.observe(now, SILENT).action for now in range(10, 610, 10)]
    assert Action.EXIT not in actions
    assert actions.count(Action.REBUILD) == 10
    assert dog.observe(610, STILL).action is Action.OK


def test_a_group_that_gives_nothing_is_asked_anew() -> None:
    """A member that has waited for partitions for too long is rebuilt, however often, and never given up."""
    dog = Watchdog(join_stall_s=120, rebuilds=1)
    waiting = [Observation(positions={}, end_offsets={}, joining_s=seconds) for seconds in (0.0, 119.0, 120.0, 130.0)]
    assert [dog.observe(now, seen).action for now, seen in enumerate(waiting)] == [
        Action.OK,
        Action.OK,
        Action.REBUILD,
        Action.REBUILD,
    ]


def test_a_dead_task_is_replaced_at_once() -> None:
    """A client whose background task has died does not get the stall time."""
    dog = Watchdog(rebuilds=2)
    dead = Observation(positions={}, end_offsets={}, broken="the fetch task ended")
    actions = [dog.observe(now, dead).action for now in range(3)]
    assert actions == [Action.REBUILD, Action.REBUILD, Action.EXIT]
    assert dog.observe(0, dead).reason.startswith("the fetch task ended")


def test_a_stalled_relay_is_rebuilt_then_given_up() -> None:
    """Messages that wait too long although Kafka answers: rebuild, rebuild, exit; a message that leaves resets that."""
    dog = Watchdog(relay_stall_s=60, rebuilds=2)
    assert dog.observe_relay(0, 59).action is Action.OK
    actions = [dog.observe_relay(now, 60 + now).action for now in range(0, 130, 10)]
    assert [10 * n for n, action in enumerate(actions) if action is not Action.OK] == [0, 60, 120]
    assert actions[12] is Action.EXIT
    assert dog.observe_relay(130, 0).action is Action.OK
    assert dog.observe_relay(140, 61).action is Action.REBUILD
