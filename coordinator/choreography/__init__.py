"""Choreographed sagas: nobody commands them; they are observed, shown, missed when they hang, helped on by a replay.

    topics of events -> reading -> the pure rules of saga.observing -> draft -> ONE statement -> offsets

An observed saga is a row like any other, under the version guard, of partition `OBSERVED_PART`: no engine owns that
partition, so none loads such a saga, fires its timers or sweeps after it.
"""
