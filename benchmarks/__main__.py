"""Measures the coordinator on this machine: `python -m benchmarks [--quick] [--only NAME ...]`."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path

import msgspec

from benchmarks import measure, profiling, report, stages
from benchmarks.load import Sagas
from benchmarks.runs import measure_runs
from benchmarks.servers import Bench, Site, say
from deploy.local.choice import LocalStackError
from deploy.local.stack import LocalStack


def main() -> int:
    """Start what is needed, measure, print a table and the JSON line."""
    arguments = _arguments()
    plan = _plan(arguments)
    began = time.monotonic()
    try:
        stack = LocalStack.of_file(arguments.stack, say=say) if arguments.stack else LocalStack(say=say)
        with stack, Bench(stack) as bench:
            figures = _measure(bench, plan, arguments)
    except LocalStackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    say(f"took {time.monotonic() - began:.0f} s")
    print(report.table(figures))
    if arguments.json is not None:
        arguments.json.write_text(report.json_line(figures) + "\n")
    if arguments.record:
        report.record(figures)
    print(report.json_line(figures), flush=True)
    return 1 if figures["failed_stages"] else 0


def _measure(bench: Bench, plan: stages.Plan, arguments: argparse.Namespace) -> stages.Figures:
    site = bench.new_site("bench")
    figures = stages.prepare(bench, site, plan)
    if arguments.profile is not None:
        _profile(bench, site, plan, arguments.profile)
    failed: dict[str, str] = {}
    for name in arguments.only or stages.STAGES:
        say(f"--- {name}")
        try:
            figures |= stages.STAGES[name](bench, site, plan)
        except Exception as error:  # noqa: BLE001 - the other stages are worth having, and the exit code tells
            say(f"stage {name} failed: {error!r}")
            failed[name] = repr(error)
            bench.drop_site(site)
            site = bench.new_site("bench")
            stages.restore(bench, site)
    facts = measure.machine() | {"kafka": bench.stack.kafka.description, "postgres": bench.stack.postgres.description}
    figures |= {"rebalances": bench.rebalances, "failed_stages": failed, "quick": arguments.quick, "machine": facts}
    return report.complete(figures)


def _profile(bench: Bench, site: Site, plan: stages.Plan, file: Path) -> None:
    """Profile the coordinator while it is busy, and print where its time went."""
    program = profiling.sampler()
    if program is None:
        say("py-spy is not on the PATH: profiling with cProfile, which doubles the cost of a call")
        bench.start_coordinator(site, profile=file)
        asyncio.run(measure_runs(bench, site, "profiled", [Sagas.completing(plan.sagas)]))
        bench.start_coordinator(site)
        profiling.print_top_of_profile(file)
        return
    sampling = profiling.Sampling(program, bench.coordinator_pid, file)
    asyncio.run(measure_runs(bench, site, "profiled", [Sagas.completing(plan.sagas)]))
    print(sampling.finish())


def _plan(arguments: argparse.Namespace) -> stages.Plan:
    plan = stages.QUICK if arguments.quick else stages.Plan()
    wanted = {"sagas": arguments.sagas, "travel": arguments.sagas, "runs": arguments.runs, "warm_up": arguments.warm_up}
    return msgspec.structs.replace(plan, **{name: value for name, value in wanted.items() if value is not None})


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers, for tuning; targets mean little then")
    parser.add_argument("--only", choices=stages.STAGES, action="append", help="only this stage (repeatable)")
    parser.add_argument("--stack", type=Path, metavar="FILE", help="use the servers of `python -m deploy.local --json`")
    parser.add_argument("--profile", type=Path, metavar="FILE", help="first profile the coordinator into FILE")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the JSON line to FILE, too")
    parser.add_argument("--record", action="store_true", help="append the results to benchmarks/RESULTS.md")
    parser.add_argument("--sagas", type=int, help="sagas per throughput run")
    parser.add_argument("--runs", type=int, help="runs per figure")
    parser.add_argument("--warm-up", type=int, help="sagas before the first measured one")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
