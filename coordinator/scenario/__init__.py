"""Scenarios: a saga told line by line; what is said stands at the margin, what follows from it is indented.

    # The failed step promises that it has no effect: only the step before it is undone.
    begin OrderFulfillment ...
    reply reserve_inventory completed ...
    reply process_payment failed
        applied: pending -> compensating
        reserve_inventory: undo none -> issued, until +2m
        process_payment: issued -> failed
        send ReleaseReservation to inventory, attempt 1

`saga test FILE...` plays such files against the definitions that the settings name. A line that ends in ` ...` has an
answer that is not worth showing. What can be said:

    given input {JSON}         what the saga is started with
    begin NAME [attempts=N] [undo_attempts=N] [recovery=N] [steps=N] [without_compensation=STEP,STEP]
          [deadline=LENGTH] [progress_max=LENGTH] [start_in=LENGTH] [input={JSON}]
    reply STEP completed|failed|progress|undone|nothing_to_undo|undo_failed [retryable] [attempt=N]
          [problem=TEXT] [source=NAME] [step_name=NAME] [command_id=TEXT] [{result}]
    outside STEP completes|fails [by=NAME] [problem=TEXT] [{result}]
    wait [1m30s] [delayed]     let time pass, by default to the next deadline, and fire the timers that come due;
                               `delayed`: the commands were still in our own outbox when their deadlines came
    timer deadline|backoff|delayed STEP action|compensation attempt=N     a timer by hand, for stale ones
    timer start|whole          the same, of the saga itself
    held PARTICIPANT           from now on the participant takes no new actions
    released PARTICIPANT       and from now on it does again
    retry [STEP] by=NAME [{payload}]
    skip STEP by=NAME
    resolve STEP completed|failed|undone by=NAME [problem=TEXT] [{result}]
    compensate by=NAME         and likewise suspend, resume, abandon
    show                       print every step

A result that is written out is checked against the step's model, and the input against the definition's; where none is
written it is taken for one that fits, and it is empty: write out what a later step reads. Time stands still but for
`wait`, and every pause is half of its longest.

    files (compare, rewrite) -> player (one saga) -> saying (events), words (answers), shaping (definitions) -> parser
"""
