//! What keyed state promises to a guest (`wit/keyed-state.wit`), one function per promise, and every backend keeps all of them.
//!
//! A case gets a [`Backend`], makes a [`Task`] with the states that it needs, and runs calls over some keys. Beside the cases there is a model test, which holds any sequence of
//! calls against plain maps.

mod caps;
mod collections;
mod end;
mod expiry;
mod failures;
mod fixture;
mod model;
mod points;
mod transactions;

use self::fixture::{Backend, Refine, Task, VERSION, state};
use super::StateKind::{Aggregating, KeyedList as List, KeyedMap as Map, Reducing, Value};

/// The suite: makes a test of each case for each backend.
macro_rules! conformance {
    ($($room:ident: $($case:ident)*;)*) => {
        conformance!(@ memory Memory [$($($room $case)*)*]);
        conformance!(@ roomy_spill Roomy [$($($room $case)*)*]);
        conformance!(@ tiny_cache Tiny [$($($room $case)*)*]);
        conformance!(@ tiny_cache_and_a_thread TinyThreads [$($($room $case)*)*]);
    };
    (@ $module:ident $backend:ident [$($room:ident $case:ident)*]) => {
        mod $module {
            $(
                #[test]
                fn $case() {
                    super::$room::$case(super::Backend::$backend);
                }
            )*
        }
    };
}

conformance! {
    points:
        absence_is_no_error
        a_call_sees_its_own_writes_and_later_calls_see_them_too
        namespaces_are_apart
        one_put_may_name_a_cell_twice_and_mix_namespaces
        states_and_keys_are_apart
        a_prefetched_value_comes_once_and_with_each_new_instance
        another_key_of_the_task_can_be_addressed
        a_key_that_comes_after_many_others_has_its_state;
    collections:
        a_list_keeps_its_order_over_calls
        a_map_is_in_the_order_of_its_keys
        pages_of_any_size_give_all_entries
        what_was_cleared_is_gone_and_can_be_filled_again
        a_large_map_is_cleared_at_once
        a_map_that_changes_is_read_on_from_where_it_was
        a_list_that_changes_is_read_on_from_where_it_was
        bulk_functions_do_what_single_ones_do;
    transactions:
        a_call_that_traps_leaves_all_as_it_was
        a_call_that_traps_leaves_what_it_never_met_as_it_was
        many_calls_that_trap_leave_no_memory_behind
        calls_that_trap_do_not_fill_the_memory_with_what_they_read;
    caps:
        keys_and_values_of_any_allowed_size_are_kept
        the_largest_value_is_kept_and_a_larger_one_refused
        namespaces_and_map_keys_above_their_caps_are_refused
        a_call_writes_no_more_than_its_limit
        functions_refuse_states_of_other_kinds
        functions_refuse_states_and_slots_that_are_not_there
        columns_that_contradict_themselves_are_refused
        a_write_that_was_refused_spoils_the_call_and_a_read_does_not
        keyed_state_is_out_of_reach_without_keys;
    expiry:
        a_value_expires_when_its_time_has_passed_since_it_was_written
        reading_a_value_begins_its_time_anew_where_the_state_says_so
        a_delivered_value_is_never_older_than_its_time_to_live
        values_that_expire_are_delivered_in_every_call
        each_entry_of_a_map_has_its_own_time
        each_element_of_a_list_has_its_own_time
        a_read_that_is_taken_back_refreshes_nothing
        what_has_expired_is_dropped_unread
        what_has_expired_can_be_written_anew;
    end:
        every_key_with_an_entry_is_visited_once
        keys_of_several_states_are_visited_once
        states_that_do_not_ask_are_not_visited
        keys_that_were_cleared_are_not_visited
        keys_that_have_expired_are_not_visited
        many_keys_that_have_expired_are_not_visited
        visits_may_write_and_clear
        visits_that_need_memory_visit_every_key_once
        tens_of_thousands_of_keys_are_visited_once;
}
