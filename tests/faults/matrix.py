"""The fault matrix: each fault with its expected result and the tests that inject it."""

from dataclasses import dataclass

KILL, ENGINE, PROCESSES = "tests/faults/test_kill.py", "tests/faults/test_engine.py", "tests/faults/test_processes.py"
RUNS, IBKR, EVENTS = (
    "tests/trading/engine/test_rebalance.py",
    "tests/trading/engine/test_ibkr_runs.py",
    "tests/e2e/test_events.py",
)
TARGETS, INBOX, JOURNAL = (
    "tests/trading/planning/test_allocations.py",
    "tests/trading/inbox/test_receive.py",
    "tests/trading/journal/test_journal.py",
)
LISTENING, GUARDS = "tests/trading/listener/test_listening.py", "tests/trading/guards/test_account_guards.py"
OUTBOX, WORKERS = "tests/trading/notify/test_deliver.py", "tests/trading/queue/test_workers.py"
SCHEDULE = "tests/trading/schedule/test_entries.py"

SETTINGS, STOPPED, CASH = (
    "tests/trading/engine/test_settings_of_runs.py",
    "tests/trading/engine/test_stopped_runs.py",
    "tests/trading/engine/test_cash_after_sells.py",
)
MANUAL = "tests/trading/actions/test_manual_resolution.py"
TWINS = "tests/faults/test_two_installations.py"
PACE, RECORDS = "tests/trading/engine/test_kill_switch_at_pace.py", "tests/trading/engine/test_broker_records.py"
CONFIRMATION, BROKEN = "tests/trading/schedule/test_confirmation.py", "tests/trading/inbox/test_broken_events.py"
RACES, SIMULATED = "tests/trading/actions/test_approval_races.py", "tests/brokers/test_simulated_load.py"


@dataclass(frozen=True)
class Row:
    """One fault."""

    number: int
    fault: str
    expected: str
    tests: tuple[str, ...]
    not_shown: str = ""


MATRIX = (
    Row(
        1,
        "kill -9 at every step",
        "each client order id exists once at the broker; the run ends; the audit trail is complete",
        (
            f"{KILL}::test_worker_killed_at_a_step_leaves_a_run_that_another_completes",
            f"{KILL}::test_event_whose_receiver_is_killed_is_stored_once_when_redelivered",
            f"{KILL}::test_every_fail_point_is_reached_and_tested",
            f"{EVENTS}::test_a_run_whose_worker_is_killed_is_taken_up_again_and_nothing_is_sent_twice",
            "tests/faults/test_soak.py::test_soak_leaves_broker_records_and_journal_in_agreement",
        ),
    ),
    Row(
        2,
        "kill -9 of an idle worker, monitor, pusher or sentinel",
        "the whole cluster exits with code 70 and the next one works",
        (f"{EVENTS}::test_when_an_idle_part_is_killed_the_cluster_ends_whole_and_the_next_works",),
        "the 5 seconds until the next task: no test asserts a time",
    ),
    Row(
        3,
        "socket dropped before the write, after it, after the acknowledgement",
        "the order is adopted, or planned again once proven lost",
        (
            f"{RUNS}::test_order_accepted_without_acknowledgement_is_found_and_not_resent",
            f"{RUNS}::test_order_marked_lost_is_planned_again_under_another_id",
            f"{ENGINE}::test_run_that_has_sold_waits_for_an_unreachable_broker_and_then_buys",
            f"{IBKR}::test_order_without_acknowledgement_is_found_or_marked_lost_and_the_run_completes",
        ),
    ),
    Row(
        4,
        "the acknowledgement never arrives",
        "the order is found, or sent once more under a new id when proven lost; never two open orders",
        (
            f"{RUNS}::test_order_accepted_without_acknowledgement_is_found_and_not_resent",
            f"{IBKR}::test_order_without_acknowledgement_is_found_or_marked_lost_and_the_run_completes",
            f"{ENGINE}::test_open_order_of_an_earlier_run_is_looked_up_before_the_next",
            f"{ENGINE}::test_open_orders_of_ended_runs_are_resolved_by_the_task",
        ),
    ),
    Row(
        5,
        "a partial fill, then no further updates",
        "the rest is cancelled at the deadline and the cancel confirmed; buys are reduced to the available cash; reported",
        (
            f"{RUNS}::test_partial_fill_at_the_deadline_is_cancelled_and_reported",
            f"{RUNS}::test_buys_after_partial_sells_are_reduced_to_the_cash",
            f"{RUNS}::test_cancel_without_confirmation_leaves_an_unknown_order_and_needs_attention",
            f"{IBKR}::test_partial_fill_at_its_deadline_is_cancelled_and_buys_are_reduced_to_the_cash",
        ),
    ),
    Row(
        6,
        "rejections: 201, 200, permission, margin",
        "the broker's message is shown; the other orders continue; no retry",
        (
            f"{RUNS}::test_rejected_order_is_reported_with_the_brokers_message_and_the_others_continue",
            f"{RUNS}::test_run_with_every_order_rejected_fails",
            f"{IBKR}::test_rejected_order_is_reported_with_the_brokers_message_and_the_others_continue",
            f"{IBKR}::test_order_refused_by_an_error_code_is_rejected_and_the_run_completes",
        ),
    ),
    Row(
        7,
        "statuses and executions duplicated, reordered or late",
        "quantities equal the broker's; the filled quantity never decreases",
        (
            f"{JOURNAL}::test_duplicated_and_reordered_updates_lead_to_the_brokers_quantities",
            f"{RUNS}::test_updates_duplicated_or_lost_do_not_change_the_result",
        ),
    ),
    Row(
        8,
        "order ids rolled back and reused",
        "orders are matched by client order id",
        # The gateway restarts its order ids at 1.
        (f"{IBKR}::test_gateway_restart_during_a_run_loses_no_order_and_repeats_none",),
    ),
    Row(
        9,
        "1100 and 1102, nightly restart, 326",
        "the run waits, executions are read again; needs attention after 5 minutes",
        (
            f"{ENGINE}::test_run_whose_client_id_is_in_use_waits_and_then_needs_attention",
            f"{IBKR}::test_gateway_restart_during_a_run_loses_no_order_and_repeats_none",
            f"{IBKR}::test_gateway_offline_during_a_run_is_waited_for",
            f"{IBKR}::test_gateway_that_stays_offline_makes_the_run_wait_and_then_need_attention",
            f"{IBKR}::test_client_id_in_use_makes_the_run_wait_and_then_need_attention",
        ),
    ),
    Row(
        10,
        "quotes: NaN, -1, zero, stale, crossed",
        "no order for that symbol",
        (
            f"{RUNS}::test_symbol_without_a_valid_quote_is_not_traded",
            f"{RUNS}::test_plan_with_too_large_a_share_without_quotes_is_refused",
            f"{IBKR}::test_symbol_without_a_live_two_sided_quote_is_not_traded",
        ),
    ),
    Row(
        11,
        "allocations: 500, slow, huge, HTML, redirect",
        "bounded retries; no order",
        (
            f"{TARGETS}::test_fetch_after_a_server_error_is_retried",
            f"{TARGETS}::test_fetch_refused_by_the_service_is_not_retried",
            f"{TARGETS}::test_fetch_of_a_too_large_response_is_aborted",
            f"{TARGETS}::test_fetch_without_a_response_ends_at_its_timeout",
            f"{TARGETS}::test_fetch_does_not_follow_a_redirect",
            f"{EVENTS}::test_targets_that_cannot_be_used_trade_nothing_and_say_why",
        ),
    ),
    Row(
        12,
        "targets: sum, negative, NaN, duplicate, unknown symbol, empty",
        "all targets refused, with the reason",
        (
            f"{TARGETS}::test_fetch_of_an_invalid_response_is_refused_entirely",
            f"{EVENTS}::test_targets_that_cannot_be_used_trade_nothing_and_say_why",
        ),
    ),
    Row(
        13,
        "Ably: duplicate, reordered, malformed, unknown, huge",
        "one run; bad messages quarantined; the listener continues",
        (
            f"{LISTENING}::test_invalid_messages_are_rejected_with_a_notification_and_the_next_is_accepted",
            f"{LISTENING}::test_only_repeated_live_messages_count_as_duplicates",
            f"{INBOX}::test_receive_older_event_after_a_newer_run_is_superseded",
            "tests/trading/listener/test_stale_connection.py::test_oversized_frame_does_not_cause_repeated_reconnects",
        ),
    ),
    Row(
        14,
        "the same message id with another payload",
        "quarantined, with a notification",
        (
            f"{INBOX}::test_receive_same_id_with_different_content_is_rejected_as_conflict",
            f"{INBOX}::test_receive_late_and_conflicting_events_send_notifications",
        ),
    ),
    Row(
        15,
        "a burst of 1,000 events",
        "at most one running and one queued run; the last event wins",
        (
            f"{ENGINE}::test_burst_of_events_leaves_one_running_and_the_newest_queued",
            "tests/trading/listener/test_burst.py::test_burst_is_stored_completely_while_pages_respond",
        ),
    ),
    Row(
        16,
        "database restart, connections closed during a run",
        "no order without a committed row; continues within 60 s",
        (
            f"{PROCESSES}::test_database_connections_ended_during_a_run_do_not_stop_it",
            f"{PROCESSES}::test_database_server_crash_during_a_run_does_not_stop_it",
        ),
    ),
    Row(
        17,
        "database unavailable between acknowledgement and commit",
        "the order is adopted later",
        (f"{PROCESSES}::test_database_outage_between_acknowledgement_and_commit_loses_no_order",),
    ),
    Row(
        18,
        "two clusters claim the same run",
        "one owner",
        (
            f"{PROCESSES}::test_two_clusters_with_one_schedule_start_each_account_once",
            f"{JOURNAL}::test_a_newer_event_does_not_supersede_a_run_that_is_being_claimed",
            f"{JOURNAL}::test_claim_runs_skips_a_run_that_is_being_superseded",
            f"{JOURNAL}::test_claim_lease_of_a_free_slot_increments_the_epoch_and_excludes_others",
            f"{JOURNAL}::test_a_second_executing_run_of_an_account_violates_a_constraint",
            "tests/faults/test_soak.py::test_soak_leaves_broker_records_and_journal_in_agreement",
        ),
    ),
    Row(
        19,
        "a process paused beyond its lease",
        "fenced: it sends nothing when it resumes",
        (
            f"{KILL}::test_worker_paused_beyond_its_lease_sends_nothing_when_it_resumes",
            f"{JOURNAL}::test_writes_under_an_expired_lease_are_rejected_after_another_claim",
        ),
    ),
    Row(
        20,
        "a run that always kills its worker",
        "needs attention after 5 leases; other accounts are not affected",
        (
            f"{KILL}::test_run_that_always_kills_its_worker_needs_attention_and_affects_no_other",
            f"{ENGINE}::test_worker_that_dies_after_each_send_makes_no_progress",
        ),
    ),
    Row(
        21,
        "clock skew between hosts",
        "no lease is taken early; an alarm is raised",
        (
            f"{ENGINE}::test_host_with_a_wrong_clock_cannot_claim_a_live_lease",
            f"{ENGINE}::test_clock_difference_notifies_once",
            f"{ENGINE}::test_order_age_ignores_the_clock_of_the_host",
        ),
    ),
    Row(
        22,
        "daylight saving, holiday, early close, restart on Sunday",
        "one start at 09:30 New York time; late starts refused; no order outside trading hours",
        (
            f"{GUARDS}::test_session_of_returns_the_session_in_which_an_order_executes",
            f"{GUARDS}::test_guards_outside_the_session_fail",
            f"{SCHEDULE}::test_schedule_account_across_a_clock_change_keeps_new_york_time",
            f"{SCHEDULE}::test_missed_entry_found_on_sunday_is_scheduled_for_monday",
            f"{SCHEDULE}::test_run_started_too_late_is_refused_and_scheduled_for_the_next_open",
        ),
    ),
    Row(
        23,
        "SIGTERM during a run",
        "released; resumed by another worker at once; nothing sent twice",
        (f"{PROCESSES}::test_worker_stopped_during_a_run_hands_it_over_and_another_resumes_it",),
    ),
    Row(
        24,
        "disk full",
        "fails before sending; continues when space is available",
        (f"{ENGINE}::test_full_disk_stops_the_run_before_an_order_is_sent_and_it_resumes_later",),
        "PostgreSQL: a small disk requires permissions on the host; the alarm is a missing worker heartbeat",
    ),
    Row(
        25,
        "two runs in a day with a manual trade between them",
        "the trade guard is checked again right before the sells",
        (
            f"{GUARDS}::test_trade_guard_after_a_rebalance_blocks_until_the_next_session_opens",
            f"{RUNS}::test_second_execution_in_a_session_is_deferred_to_the_next",
            "tests/trading/guards/test_trade_guard.py::test_pdt_counts_manual_day_trades_and_defers_the_fourth",
        ),
    ),
    Row(
        26,
        "a manual trade or transfer during a run",
        "planned again, or needs attention",
        (
            f"{ENGINE}::test_manual_trade_during_a_run_needs_attention",
            f"{RUNS}::test_shares_sold_manually_during_planning_are_not_sold_again",
            f"{RUNS}::test_open_orders_are_cancelled_before_the_first_order",
        ),
    ),
    Row(
        27,
        "live endpoint with paper configuration, and the reverse",
        "refuses to connect",
        (
            f"{IBKR}::test_live_account_at_a_paper_gateway_is_refused_before_connecting",
            f"{IBKR}::test_gateway_with_unusable_data_fails_the_run_by_code",
            f"{GUARDS}::test_live_account_needs_setting_and_arming",
        ),
    ),
    Row(
        28,
        "SECRET_KEY rotated, deployment during a run",
        "no run is lost",
        (
            f"{PROCESSES}::test_rotated_secret_key_loses_no_run",
            f"{PROCESSES}::test_worker_stopped_during_a_run_hands_it_over_and_another_resumes_it",
        ),
    ),
    Row(
        29,
        "a broken schedule row",
        "the other schedules run",
        (
            f"{WORKERS}::test_sync_schedules_removes_every_schedule_that_is_not_in_the_code",
            f"{SCHEDULE}::test_entry_with_an_unexpected_error_does_not_stop_the_others",
        ),
    ),
    Row(
        30,
        "a notification channel is down",
        "its deliveries are retried; other channels and trading do not wait",
        (f"{OUTBOX}::test_deliver_due_with_one_channel_down_retries_only_that_channel",),
    ),
    Row(
        31,
        "the policy is edited while a run is deferred, or between its plan and its first order",
        "the current policy applies and the change is recorded; an approved plan is refused",
        (
            f"{SETTINGS}::test_deferred_run_executes_under_the_policy_of_the_day_on_which_it_resumes",
            f"{SETTINGS}::test_policy_change_between_plan_and_first_order_makes_a_new_plan",
            f"{SETTINGS}::test_approved_plan_is_refused_when_a_setting_changed_since",
        ),
    ),
    Row(
        32,
        "the kill switch is turned on while 125 orders leave at the broker's pace",
        "at most one more order per slot leaves; the others are cancelled and never sent",
        (
            f"{PACE}::test_kill_switch_lets_at_most_one_more_order_of_a_slot_leave",
            f"{PACE}::test_cancellation_of_working_orders_ends_the_run_stopped",
        ),
    ),
    Row(
        33,
        "two installations on one gateway trade the same accounts",
        "nothing is sold twice; an account with orders of the other installation is refused",
        (
            f"{TWINS}::test_two_installations_with_differently_numbered_slots_sell_nothing_twice",
            f"{RECORDS}::test_account_with_an_order_of_another_installation_is_refused",
            f"{RECORDS}::test_foreign_order_that_arrives_during_a_run_makes_it_need_attention",
        ),
    ),
    Row(
        34,
        "permission, second factor or user are gone between the schedule entry and the market open",
        "the run is refused and not retried; scheduling a live account needs the confirmation of an order",
        (
            f"{CONFIRMATION}::test_scheduled_run_whose_user_lost_the_rights_meanwhile_is_refused_and_not_retried",
            f"{CONFIRMATION}::test_schedule_live_account_without_confirmation_is_refused",
        ),
    ),
    Row(
        35,
        "an unexpected error or a missing column while an event is received",
        "the event is kept and processed again; a replay is no conflict; runs are resumed",
        (
            f"{BROKEN}::test_store_with_an_unexpected_error_keeps_the_event_with_its_digest",
            f"{BROKEN}::test_replay_of_a_broken_event_is_processed_at_once",
            f"{BROKEN}::test_message_during_a_migration_of_another_table_is_executed_afterwards",
            f"{ENGINE}::test_run_during_a_migration_is_resumed_and_not_failed",
        ),
    ),
    Row(
        36,
        "money is withdrawn while a run sells",
        "the reserve is kept; values that lag behind the fills do not reduce the buys",
        (
            f"{CASH}::test_withdrawal_during_a_run_leaves_the_reserve_untouched",
            f"{CASH}::test_cash_after_sells_is_the_smaller_value_and_a_lag_does_not_reduce_it",
            f"{IBKR}::test_withdrawal_between_sells_and_buys_is_not_spent",
        ),
    ),
    Row(
        37,
        "an older backup of the database is restored",
        "nothing trades until every enabled account is reconciled; executions become rows that guards count",
        (
            f"{RECORDS}::test_restored_database_trades_nothing_until_every_account_is_reconciled",
            f"{RECORDS}::test_restored_database_stays_paused_while_an_account_cannot_be_read",
            f"{RECORDS}::test_reconcile_records_executions_as_rows_that_guards_count",
        ),
    ),
    Row(
        38,
        "a run is stopped between its sells and its buys",
        "it ends as stopped and names what is left; a new run in the session finishes",
        (
            f"{STOPPED}::test_run_stopped_between_sells_and_buys_ends_stopped_and_names_what_is_left",
            f"{STOPPED}::test_run_after_a_stopped_one_finishes_the_rebalance_of_the_session",
        ),
    ),
    Row(
        39,
        "the clock of a host is an hour ahead",
        "no later event is superseded; the event and the notification state it",
        (
            f"{INBOX}::test_receive_event_published_in_the_future_is_ordered_by_its_receipt",
            f"{INBOX}::test_receive_request_on_a_host_with_a_wrong_clock_has_the_databases_time",
            f"{INBOX}::test_receive_superseded_event_is_reported_on_event_run_and_notification",
        ),
    ),
    Row(
        40,
        "a page and the API approve one preview at the same moment",
        "it is executed once; one user gets the same run twice, a second user gets 409; one audit entry",
        (
            f"{RACES}::test_page_and_api_of_one_user_return_the_same_run",
            f"{RACES}::test_api_calls_of_two_users_execute_once_and_refuse_the_second",
        ),
    ),
    Row(
        41,
        "the queue's schedules are deleted or changed",
        "the next sweep restores them",
        (f"{WORKERS}::test_sweep_restores_schedules_that_are_missing_or_changed",),
    ),
    Row(
        42,
        "an event for many accounts of the simulated broker on a busy machine",
        "every run completes: requests share transactions, and a busy database only delays",
        (
            f"{SIMULATED}::test_statements_do_not_grow_with_accounts_and_orders",
            f"{SIMULATED}::test_request_with_slow_database_waits",
            f"{SIMULATED}::test_stream_whose_lock_is_not_free_tries_again",
        ),
    ),
    Row(
        43,
        "the gateway answers with empty lists after a reconnect",
        "no order is marked as lost or rejected too early; twins and late fills are found",
        (
            f"{RECORDS}::test_order_that_lives_after_an_error_of_an_unlisted_code_is_not_rejected_while_lists_are_empty",
            f"{RECORDS}::test_order_refused_by_an_unlisted_code_is_rejected_once_empty_lists_count",
            f"{RECORDS}::test_open_order_is_not_marked_lost_while_a_new_connection_answers_with_empty_lists",
            f"{RECORDS}::test_fill_of_an_order_that_was_marked_lost_is_found_later_on_the_day",
        ),
    ),
    Row(
        44,
        "the broker reports executions of an order that a user has resolved manually",
        "they replace the entered fill; each share counts once",
        (
            f"{MANUAL}::test_executions_that_the_broker_reports_later_replace_the_fill_entered_manually",
            f"{MANUAL}::test_executions_that_replace_a_manual_fill_are_looked_for_without_a_run",
        ),
    ),
    Row(
        45,
        "an account is added to a slot whose connection is open",
        "its run completes over the open connection",
        (
            f"{RUNS}::test_account_added_to_a_slot_whose_connection_is_open_is_rebalanced_over_it",
            f"{IBKR}::test_account_added_to_a_slot_whose_connection_is_open_is_rebalanced_over_it",
        ),
    ),
)
