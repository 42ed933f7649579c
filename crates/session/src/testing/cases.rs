//! The cases, and the one list of them.

#![expect(clippy::unwrap_used, reason = "a case fails by panicking")]

use super::{Case, Instances, stage::Stage};

mod budgets;
mod cancellation;
mod contract;
mod crowds;
mod expiry;
mod faults;
mod feed;
mod keys;
mod persistence;
mod races;
mod realms;
mod revocation;
mod updates;
mod visitors;

macro_rules! cases {
    ($dollar:tt $($module:ident: $($case:ident)*;)*) => {
        /// Every case of the suite.
        pub const ALL: &[Case] = &[$($(Case {
            name: stringify!($case),
            run: |instances: Instances| Box::pin($module::$case(Stage::new(instances))),
        },)*)*];

        /// Expands to one test per case of the suite. The argument is an `async fn() -> Instances`
        /// that gives each case two handles on one storage; see [`testing`](crate::testing).
        #[macro_export]
        macro_rules! conformance {
            ($dollar factory:path) => {
                $($(
                    #[test]
                    fn $case() {
                        $crate::testing::run_in_runtime(stringify!($case), $dollar factory);
                    }
                )*)*
            };
        }
    };
}

cases! { $
    contract:
        what_is_created_is_loaded_by_every_instance
        absence_is_an_answer_and_not_an_error
        a_tag_belongs_to_one_user
        each_change_gives_its_answer
        a_commit_is_all_or_nothing
        only_whole_numbers_below_2_to_53_are_incremented
        rotation_keeps_deadline_data_and_usage
        a_second_rotation_changes_nothing
        writes_follow_a_rotated_id_for_a_minute_and_loads_never
        destroying_a_rotated_id_ends_its_successor
        nothing_acts_on_what_was_destroyed
        a_replacement_ends_the_old_session_with_its_data
        an_abandoned_id_leads_nowhere_for_a_minute
        listings_hold_all_records_and_no_forwards
        fields_of_the_crate_itself_go_with_their_session_and_are_nobody_elses;
    races:
        two_writers_of_different_fields_keep_both
        a_reader_does_not_undo_a_write
        logout_beats_a_writer_in_flight
        logout_beats_a_reader_in_flight
        a_writer_in_flight_survives_a_rotation_and_leaves_the_new_cookie_alone
        a_late_request_with_a_former_cookie_leaves_the_new_one_alone
        two_rotations_in_flight_leave_the_browser_a_live_session
        a_writer_in_flight_survives_a_rotation_that_ends_the_others
        a_reader_in_flight_survives_a_rotation
        a_request_in_flight_is_verified_after_a_rotation
        a_request_in_flight_is_over_a_minute_after_a_rotation
        a_proof_under_a_new_id_is_none_for_a_request_in_flight
        a_sign_in_ends_the_session_presented_with_it
        a_sign_in_as_somebody_else_keeps_its_cookie_whatever_was_under_way
        logout_in_flight_ends_a_session_rotated_meanwhile
        a_write_in_flight_never_reaches_another_user;
    revocation:
        signing_out_everywhere_ends_every_session
        signing_out_the_others_keeps_this_one
        a_dead_session_cannot_sign_out_the_others
        a_sign_in_that_began_before_a_sign_out_everywhere_is_refused
        a_refused_sign_in_clears_the_cookie_of_the_session_it_ended
        a_record_from_before_a_sign_out_everywhere_is_dead_wherever_it_comes_from
        fifty_sign_ins_racing_a_sign_out_everywhere_leave_none_of_before
        the_epoch_only_rises_and_is_remembered
        one_session_is_revoked_by_its_handle_and_only_by_its_user;
    crowds:
        a_hundred_parallel_requests_lose_no_increment_and_no_field
        of_a_hundred_takers_one_takes
        of_a_hundred_setters_one_sets
        two_hundred_sign_ins_and_sign_outs_leave_index_and_sessions_equal;
    expiry:
        the_absolute_deadline_survives_use_and_rotation
        the_idle_deadline_moves_with_use
        absolute_and_idle_deadlines_hold_together
        an_expired_session_is_dead_for_every_write
        the_dead_are_cleared_away_at_the_next_sign_in
        a_browser_that_missed_its_new_cookie_is_a_visitor_after_a_minute
        reading_writes_nothing
        a_touch_is_written_once_per_interval_over_all_instances
        a_touch_that_comes_late_does_not_write_again
        fresh_authentication_ages_and_is_renewed;
    budgets:
        a_session_holds_what_its_budget_allows_and_no_more
        a_new_cookie_goes_out_though_the_changes_are_over_the_budget
        what_is_removed_is_free_again
        a_session_beyond_the_most_ends_the_oldest;
    visitors:
        visitors_who_store_nothing_cost_nothing
        a_forged_cookie_costs_no_call
        a_visitor_who_stores_something_gets_a_session
        first_writes_at_once_in_one_request_begin_one_session
        a_sign_in_beside_other_operations_of_its_request_is_what_remains
        two_sign_ins_at_once_in_one_request_leave_one_session
        every_way_to_be_signed_out_has_its_name;
    keys:
        changing_the_secret_twice_under_load_signs_nobody_out
        old_and_new_instances_accept_each_other_while_the_secret_changes_in_two_steps
        an_instance_that_misses_a_secret_leaves_its_cookies_alone
        dropping_the_oldest_secret_ends_exactly_its_sessions
        a_record_of_an_unknown_version_is_left_alone
        a_record_with_a_newer_tail_is_read;
    updates:
        a_hundred_parallel_updates_of_one_field_keep_a_hundred
        a_compare_and_set_writes_only_what_was_expected
        an_update_begins_the_session_of_a_visitor_and_writes_what_was_set_before
        an_update_that_fails_changes_nothing
        what_is_set_after_the_response_began_is_refused_and_an_update_is_written
        an_absent_field_is_taken_without_a_change
        a_session_names_its_fields_and_loses_them_all_when_cleared
        a_struct_that_grew_is_an_error_that_names_the_field
        a_sign_in_carries_the_fields_it_names_and_no_others
        of_two_sign_ins_with_one_cart_one_carries_it;
    realms:
        a_cookie_of_one_realm_opens_nothing_in_another
        neither_realm_sees_or_ends_the_sessions_of_the_other
        a_layer_inside_a_layer_of_the_same_sessions_opens_once
        two_sessions_on_one_route_are_both_there;
    persistence:
        a_sign_in_may_live_shorter_or_longer_than_others
        a_sign_in_may_have_an_idle_timeout_of_its_own_or_none
        a_cookie_until_the_browser_closes_has_no_age_and_its_session_ends_all_the_same
        a_token_in_a_header_is_a_session_without_a_cookie;
    feed:
        what_another_instance_ends_is_refused_in_time
        what_another_instance_writes_is_read_in_time;
    faults:
        a_store_that_cannot_be_reached_is_an_error_and_no_absence
        a_store_that_stalls_answers_within_its_limit;
    cancellation:
        a_cancelled_sign_out_is_done_or_not_done
        a_cancelled_write_is_done_or_not_done
        a_cancelled_operation_loses_no_buffered_write;
}
