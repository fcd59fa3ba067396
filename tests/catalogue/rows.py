"""The catalogue of bad input, row by row: what is sent, and the tests that hold what must come of it.

K1-K44 are records on the topic of replies, H1-H46 are requests. Where the product departs from what such catalogues
expect, `decided` says how, and where that was decided. tests/unit/catalogue holds each row to tests that are there.
"""

from __future__ import annotations

from dataclasses import dataclass

RECORDS = "integration/engine/test_bad_records.py"
BATCHES = "integration/engine/test_bad_batches.py"
LETTERS_AT_WORK = "integration/engine/test_letters.py"
READING = "unit/wire/test_inbound.py"
BAD = "integration/api/test_bad_requests.py"
EVERY = "integration/api/test_every_route.py"
BULK = "integration/api/test_batch_acts.py"
KEPT = "integration/api/test_kept_answers.py"
LETTERS = "integration/api/test_letters.py"
VERBS = "integration/api/test_verb_routes.py"
RETRIES = "integration/api/test_retry.py"
REFUSALS = "integration/api/test_refusals.py"
KNOWN = "unit/api/test_authentication.py"

# These go through tables: a row that names one must be in it, and each of its entries is sent by the storm as well.
CASES = f"{RECORDS}::test_a_bad_record_gets_its_verdict"
TABLE = f"{BAD}::test_a_bad_request_is_a_problem_that_points_at_the_fault"
BODY = f"{EVERY}::test_no_route_takes_a_malformed_body"
STRANGERS = f"{EVERY}::test_every_route_asks_who_it_is"


@dataclass(frozen=True)
class Row:
    """One row: what is sent, which tests hold it, and how what comes of it was decided otherwise."""

    sent: str
    tests: tuple[str, ...]
    decided: str = ""


def _record(sent: str, *more: str, decided: str = "") -> Row:
    return Row(sent, (CASES, *more), decided)


KAFKA: dict[int, Row] = {
    1: _record("no value"),
    2: _record("no bytes, or spaces"),
    3: _record("bytes that are no UTF-8"),
    4: _record("JSON that ends too early"),
    5: _record("JSON that is no object"),
    6: _record("a byte order mark, UTF-16"),
    7: _record("a schema registry's magic byte"),
    8: _record("one key twice"),
    9: _record("numbers that are none"),
    10: _record("NUL in a text or a key"),
    11: _record("half of a surrogate pair"),
    12: _record("numbers beyond all ranges"),
    13: _record("a thousand levels"),
    14: _record("three megabytes"),
    15: Row(
        "compressed batches, and a codec that nobody knows",
        (f"{BATCHES}::test_k15_every_codec_is_read", f"{BATCHES}::test_an_unreadable_batch_is_one_row"),
    ),
    16: Row("a batch whose checksum is wrong", (f"{BATCHES}::test_an_unreadable_batch_is_one_row",)),
    17: _record(
        "a field that is not there",
        f"{READING}::test_a_wrong_field_is_refused_by_its_path",
        decided="message_id and outcome are ce_id and ce_type: headers of CloudEvents (design, section 5)",
    ),
    18: _record("values of other types"),
    19: _record("an outcome that is none"),
    20: _record("fields that nobody knows"),
    21: _record("newer versions of the schema"),
    22: _record("a result that does not fit", f"{RECORDS}::test_k22_a_result_that_lacks_a_field_opens_an_incident"),
    23: _record(
        "money as a fraction", decided="it counts as done and asks for a person, as in K22: the effect is real"
    ),
    24: _record("an unknown saga", f"{RECORDS}::test_k24_strangers_are_kept_as_samples_only"),
    25: _record("an id that is none"),
    26: _record("another step"),
    27: _record("another saga's command"),
    28: _record(
        "a command that was not issued yet",
        decided="ids are readable, so they can be guessed; a guess is stale (docs/adr/0002)",
    ),
    29: _record("a reply twice"),
    30: _record("a reply anew"),
    31: _record("the opposite of what was said", decided="stale; the first durable answer wins (semantics, rule 4)"),
    32: _record(
        "a message id that another saga has used",
        decided="there is no inbox: a reply is judged by its command alone (docs/adr/0008), so nothing can collide",
    ),
    33: _record("a late success", f"{RECORDS}::test_k33_the_undo_goes_on_after_a_late_success"),
    34: Row(
        "a reply of an earlier generation", ("e2e/test_shapes.py::test_k34_a_reply_of_an_earlier_generation_is_stale",)
    ),
    35: _record(
        "a reply for a saga that has ended, or has been archived",
        "integration/choreography/test_observer.py::test_an_archived_saga_is_not_begun_again",
        decided="one that somebody has archived is an unknown saga, K24",
    ),
    36: _record("replies of the other direction"),
    37: _record("a key that is not the saga's"),
    38: _record("another participant's reply"),
    39: _record("odd times and headers"),
    40: _record("a broken trace, much baggage", f"{READING}::test_a_malformed_traceparent_is_dropped"),
    41: _record(
        "markup, terminal codes, 100 kB of text",
        f"{RECORDS}::test_k41_what_a_participant_says_is_cut",
        f"{READING}::test_a_long_error_is_cut_at_a_character",
    ),
    42: _record("our own messages, a connector's envelope"),
    43: Row("100,000 bad records in a row", (f"{BATCHES}::test_k43_a_flood_of_bad_records_passes",)),
    44: Row(
        "transactions that were rolled back",
        (
            f"{BATCHES}::test_k44_what_was_rolled_back_is_invisible",
            f"{BATCHES}::test_k44_a_marker_at_the_end_holds_no_timer_back",
        ),
    ),
}

REST: dict[int, Row] = {
    1: Row(
        "nobody, or somebody in a wrong way",
        (STRANGERS, f"{KNOWN}::test_who_is_not_known_gets_401", f"{REFUSALS}::test_an_act_of_a_stranger_is_on_record"),
    ),
    2: Row(
        "somebody who may not",
        (
            "integration/api/test_keys.py::test_every_route_lets_in_whom_its_permission_names",
            f"{REFUSALS}::test_a_refusal_is_on_record_and_says_nothing_of_what_was_asked_for",
            "unit/api/test_door.py::test_a_refused_act_is_told",
        ),
    ),
    3: Row(
        "forged tokens",
        (
            STRANGERS,
            "integration/api/test_oidc.py::test_a_token_that_is_wrong_lets_nobody_in",
            "unit/services/test_oidc.py::test_any_other_token_is_refused",
        ),
    ),
    4: Row("other media types", (TABLE, BODY)),
    5: Row("no object", (TABLE, BODY)),
    6: Row("JSON that is none", (TABLE, BODY)),
    7: Row("numbers that are none", (TABLE, BODY)),
    8: Row("half of a surrogate pair", (TABLE, BODY)),
    9: Row("NUL", (TABLE, BODY)),
    10: Row("one key twice", (TABLE, BODY)),
    11: Row("numbers of thousands of digits", (TABLE, BODY)),
    12: Row("thousands of levels", (TABLE, BODY)),
    13: Row(
        "ten megabytes, chunks, lengths that lie",
        (
            TABLE,
            BODY,
            f"{BAD}::test_ten_megabytes_are_refused_before_they_are_read",
            f"{BAD}::test_chunks_without_a_length_are_counted",
            f"{BAD}::test_a_length_that_lies_low_starts_nothing",
            f"{BAD}::test_a_length_that_lies_high_times_out",
        ),
    ),
    14: Row("a byte now and then", (f"{BAD}::test_a_slow_body_holds_up_nobody_else",)),
    15: Row("fields of ours", (TABLE, BODY)),
    16: Row("values of other types", (TABLE, f"{EVERY}::test_no_route_takes_a_value_of_another_type")),
    17: Row("unknown definitions and versions", (TABLE,)),
    18: Row("input that does not fit", (TABLE, "integration/api/test_verbs.py::test_what_is_stated_must_fit_the_step")),
    19: Row("keys that are none", (TABLE, BODY), "no request needs an Idempotency-Key: starts have their business key"),
    20: Row(
        "a key again",
        (f"{KEPT}::test_the_same_request_hears_the_same_answer", f"{KEPT}::test_fifty_at_once_start_one_saga"),
    ),
    21: Row(
        "a key for something else",
        (f"{KEPT}::test_a_key_stands_for_one_request",),
        "422; it is no refusal of a person, so it is not in the audit (docs/adr/0023, 0025)",
    ),
    22: Row("ids that are none", (TABLE, f"{EVERY}::test_no_route_finds_what_cannot_be")),
    23: Row(
        "unknown and foreign sagas",
        (TABLE, "integration/api/test_scopes.py::test_a_foreign_saga_is_not_there"),
        "there are no tenants; keys that are bound to definitions know no others (docs/adr/0022)",
    ),
    24: Row(
        "verbs that are not possible",
        (
            f"{RETRIES}::test_a_saga_in_progress_is_not_retried",
            f"{VERBS}::test_a_refusal_names_the_verbs_that_are_possible",
        ),
    ),
    25: Row(
        "many hands at once",
        (
            f"{RETRIES}::test_of_ten_retries_at_once_one_happens",
            f"{VERBS}::test_of_fifty_operators_with_different_verbs_one_acts",
        ),
    ),
    26: Row(
        "a version that has passed",
        (f"{RETRIES}::test_a_stale_version_is_refused", f"{VERBS}::test_a_preview_holds_for_its_version_only"),
    ),
    27: Row(
        "a cancel that comes late, or twice",
        (
            "integration/api/test_verbs.py::test_what_is_not_possible_is_refused_with_a_sentence",
            f"{VERBS}::test_of_fifty_hands_on_one_button_one_presses_it",
            f"{KEPT}::test_fifty_verbs_at_once_happen_once_and_are_answered_alike",
        ),
        "the second hears how the saga stands, or under one Idempotency-Key the same 202 (docs/adr/0025)",
    ),
    28: Row(
        "acts without a reason, or by the wrong role",
        (
            f"{VERBS}::test_what_a_verb_does_not_take_is_refused",
            "integration/api/test_keys.py::test_every_route_lets_in_whom_its_permission_names",
            "unit/api/test_roles.py::test_each_role_is_let_in_where_its_permissions_say_so",
        ),
    ),
    29: Row("limits that are none", (TABLE, f"{EVERY}::test_every_list_is_asked_for_strictly")),
    30: Row(
        "forged cursors",
        (
            TABLE,
            f"{EVERY}::test_every_list_is_asked_for_strictly",
            f"{BAD}::test_a_cursor_is_good_for_its_own_list_only",
            "unit/api/test_cursors.py::test_a_changed_cursor_is_refused",
        ),
    ),
    31: Row("unknown parameters", (TABLE, f"{EVERY}::test_no_route_ignores_a_parameter")),
    32: Row("moments that are none", (TABLE, f"{EVERY}::test_every_list_is_asked_for_strictly")),
    33: Row("patterns and SQL", (f"{BAD}::test_a_business_key_is_taken_literally",)),
    34: Row(
        "lists of millions",
        (
            "integration/api/test_lists.py::test_a_page_reads_a_few_rows_of_an_index",
            "integration/api/test_outages.py::test_a_postgres_that_says_nothing_keeps_nobody_waiting_for_ever",
        ),
        "no page reads more than its limit or a bounded walk (docs/adr/0024); what takes longer is 503",
    ),
    35: Row(
        "other methods",
        (f"{EVERY}::test_every_path_names_its_methods", f"{BAD}::test_a_wrong_method_hears_the_right_ones"),
    ),
    36: Row(
        "headers of proxies and frameworks, a bad Host",
        (
            f"{EVERY}::test_headers_of_proxies_and_frameworks_mean_nothing",
            f"{KNOWN}::test_a_web_page_cannot_pose_as_this_machine",
        ),
    ),
    37: Row("a cookie from elsewhere", (STRANGERS,), "there are no sessions and no cookies: 401, not 403"),
    38: Row(
        "line breaks and megabytes in headers",
        (
            f"{EVERY}::test_no_answer_repeats_a_header_that_it_was_given",
            f"{BAD}::test_a_request_id_is_taken_only_if_it_is_sane",
        ),
    ),
    39: Row(
        "a wish for XML",
        (f"{EVERY}::test_headers_of_proxies_and_frameworks_mean_nothing",),
        "JSON comes, whatever is asked for",
    ),
    40: Row(
        "a range, an encoded body",
        (TABLE, BODY, f"{EVERY}::test_headers_of_proxies_and_frameworks_mean_nothing"),
    ),
    41: Row(
        "a million at once",
        (
            f"{BULK}::test_more_than_the_limit_is_refused",
            f"{BULK}::test_who_may_not_know_of_sagas_finds_none",
            f"{BULK}::test_two_workers_with_one_operation_do_each_saga_once",
        ),
        "bulk acts name a filter and confirm what it found; there are no lists of ids (docs/adr/0025)",
    ),
    42: Row(
        "letters that are closed, or never were one",
        (
            f"{LETTERS}::test_a_letter_is_sent_again_once",
            f"{LETTERS}::test_what_was_closed_stays_closed",
            f"{LETTERS}::test_a_wrong_act_changes_nothing",
            f"{LETTERS_AT_WORK}::test_a_claim_to_be_a_letter_is_checked",
            f"{LETTERS_AT_WORK}::test_a_letter_that_fails_again_is_the_same_letter",
        ),
    ),
    43: Row(
        "Postgres away, full, or read-only",
        (
            "integration/api/test_outages.py::test_an_outage_of_postgres_is_said_and_healed",
            "faults/test_postgres_limits.py::test_a_postgres_that_may_not_write",
            "faults/test_postgres_limits.py::test_a_postgres_without_connections",
            "unit/api/test_app.py::test_an_outage_says_when_to_come_back",
        ),
    ),
    44: Row(
        "clients that go away",
        (
            f"{KEPT}::test_whoever_went_away_hears_the_answer_when_he_comes_back",
            "integration/api/test_service.py::test_a_start_whose_answer_was_lost_is_found",
            "integration/api/test_service.py::test_a_retry_whose_answer_was_lost_happened_once",
        ),
    ),
    45: Row(
        "a thousand starts at once",
        (
            f"{EVERY}::test_who_starts_too_much_is_told_when_to_come_again",
            f"{KNOWN}::test_who_asks_too_often_is_asked_to_wait",
            "catalogue/test_masses.py::test_sagas_in_progress_keep_their_share",
        ),
    ),
    46: Row(
        "names as labels of metrics",
        (
            "integration/api/test_reads.py::test_labels_of_metrics_never_come_from_a_request",
            "integration/api/test_gauges.py::test_no_row_makes_a_label",
        ),
    ),
}
