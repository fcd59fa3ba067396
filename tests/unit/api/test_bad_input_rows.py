"""Which test proves which row of the table of bad input over REST; a row without a test fails here.

The rows: H1-H3 who asks, H4-H18 bodies, H19-H21 keys, H22-H23 ids, H24-H28 verbs, H29-H34 lists, H35-H40 HTTP,
H41-H42 bulk and letters, H43-H46 outages, clients that go, masses, and metrics.
"""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).parents[2]
BAD = "integration/api/test_bad_requests.py"
EVERY = "integration/api/test_every_route.py"
TABLE = f"{BAD}::test_a_bad_request_is_a_problem_that_points_at_the_fault"
BODY = f"{EVERY}::test_no_route_takes_a_malformed_body"
BATCHES = "integration/api/test_batch_acts.py"
KEPT = "integration/api/test_kept_answers.py"
LETTERS = "integration/api/test_letters.py"
VERBS = "integration/api/test_verb_routes.py"
KNOWN = "unit/api/test_authentication.py"

ROWS: dict[int, tuple[str, ...]] = {
    1: (f"{EVERY}::test_every_route_asks_who_it_is", f"{KNOWN}::test_who_is_not_known_gets_401"),
    2: (
        "integration/api/test_keys.py::test_every_route_lets_in_whom_its_permission_names",
        "unit/api/test_roles.py::test_a_refusal_says_nothing_of_what_was_asked_for",
        "unit/api/test_door.py::test_a_refused_act_is_told",
    ),
    3: ("unit/services/test_oidc.py::test_any_other_token_is_refused", f"{EVERY}::test_every_route_asks_who_it_is"),
    **dict.fromkeys(range(4, 13), (TABLE, BODY)),
    13: (
        BODY,
        f"{BAD}::test_ten_megabytes_are_refused_before_they_are_read",
        f"{BAD}::test_chunks_without_a_length_are_counted",
        f"{BAD}::test_a_length_that_lies_low_starts_nothing",
        f"{BAD}::test_a_length_that_lies_high_times_out",
    ),
    14: (f"{BAD}::test_a_slow_body_holds_up_nobody_else",),
    15: (TABLE, BODY),
    16: (TABLE, f"{EVERY}::test_no_route_takes_a_value_of_another_type"),
    17: (TABLE,),
    18: (TABLE, "integration/api/test_verbs.py::test_what_is_stated_must_fit_the_step"),
    19: (TABLE, BODY),
    20: (f"{KEPT}::test_the_same_request_hears_the_same_answer", f"{KEPT}::test_fifty_at_once_start_one_saga"),
    21: (f"{KEPT}::test_a_key_stands_for_one_request",),
    22: (TABLE, f"{EVERY}::test_no_route_finds_what_cannot_be"),
    23: (TABLE, "integration/api/test_scopes.py::test_a_foreign_saga_is_not_there"),
    24: (
        "integration/api/test_retry.py::test_a_saga_in_progress_is_not_retried",
        f"{VERBS}::test_a_refusal_names_the_verbs_that_are_possible",
    ),
    25: (
        "integration/api/test_retry.py::test_of_ten_retries_at_once_one_happens",
        f"{VERBS}::test_of_fifty_operators_with_different_verbs_one_acts",
    ),
    26: (
        "integration/api/test_retry.py::test_a_stale_version_is_refused",
        f"{VERBS}::test_a_preview_holds_for_its_version_only",
    ),
    27: (
        "integration/api/test_verbs.py::test_what_is_not_possible_is_refused_with_a_sentence",
        f"{VERBS}::test_of_fifty_hands_on_one_button_one_presses_it",
    ),
    28: (
        f"{VERBS}::test_what_a_verb_does_not_take_is_refused",
        "unit/api/test_roles.py::test_each_role_is_let_in_where_its_permissions_say_so",
    ),
    29: (TABLE, f"{EVERY}::test_every_list_is_asked_for_strictly"),
    30: (
        f"{EVERY}::test_every_list_is_asked_for_strictly",
        f"{BAD}::test_a_cursor_is_good_for_its_own_list_only",
        "unit/api/test_cursors.py::test_a_changed_cursor_is_refused",
    ),
    31: (TABLE, f"{EVERY}::test_no_route_ignores_a_parameter"),
    32: (TABLE, f"{EVERY}::test_every_list_is_asked_for_strictly"),
    33: (f"{BAD}::test_a_business_key_is_taken_literally",),
    34: ("integration/api/test_lists.py::test_a_page_reads_a_few_rows_of_an_index",),
    35: (f"{EVERY}::test_every_path_names_its_methods", f"{BAD}::test_a_wrong_method_hears_the_right_ones"),
    36: (
        f"{EVERY}::test_headers_of_proxies_and_frameworks_mean_nothing",
        f"{KNOWN}::test_a_web_page_cannot_pose_as_this_machine",
    ),
    37: (f"{EVERY}::test_every_route_asks_who_it_is",),
    38: (
        f"{EVERY}::test_no_answer_repeats_a_header_that_it_was_given",
        f"{BAD}::test_a_request_id_is_taken_only_if_it_is_sane",
    ),
    39: (f"{EVERY}::test_headers_of_proxies_and_frameworks_mean_nothing",),
    40: (f"{EVERY}::test_headers_of_proxies_and_frameworks_mean_nothing", BODY),
    41: (
        f"{BATCHES}::test_more_than_the_limit_is_refused",
        f"{BATCHES}::test_who_may_not_know_of_sagas_finds_none",
        f"{BATCHES}::test_two_workers_with_one_operation_do_each_saga_once",
    ),
    42: (
        f"{LETTERS}::test_a_letter_is_sent_again_once",
        f"{LETTERS}::test_what_was_closed_stays_closed",
        f"{LETTERS}::test_a_wrong_act_changes_nothing",
    ),
    43: (
        "integration/api/test_outages.py::test_an_outage_of_postgres_is_said_and_healed",
        "unit/api/test_app.py::test_an_outage_says_when_to_come_back",
    ),
    44: (
        f"{KEPT}::test_whoever_went_away_hears_the_answer_when_he_comes_back",
        "integration/api/test_service.py::test_a_start_whose_answer_was_lost_is_found",
        "integration/api/test_service.py::test_a_retry_whose_answer_was_lost_happened_once",
    ),
    45: (
        f"{EVERY}::test_who_starts_too_much_is_told_when_to_come_again",
        f"{KNOWN}::test_who_asks_too_often_is_asked_to_wait",
    ),
    46: (
        "integration/api/test_reads.py::test_labels_of_metrics_never_come_from_a_request",
        "integration/api/test_gauges.py::test_no_row_makes_a_label",
    ),
}


def _tests(file: str) -> set[str]:
    tree = ast.parse((TESTS / file).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_row_has_a_test_that_is_there() -> None:
    """H1 to H46 are all in the table, and each test that it names exists."""
    assert [*ROWS] == [*range(1, 47)]
    named = {name for names in ROWS.values() for name in names}
    for file in {name.partition("::")[0] for name in named}:
        wanted = {name.partition("::")[2] for name in named if name.startswith(f"{file}::")}
        assert wanted <= _tests(file), file
