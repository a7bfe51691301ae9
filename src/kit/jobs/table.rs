//! The tables of the outbox.

diesel::table! {
    jobs (id) {
        id -> BigInt,
        org_id -> Nullable<BigInt>,
        kind -> Text,
        queue -> Text,
        payload -> Text,
        dedupe_key -> Nullable<Text>,
        order_key -> Nullable<Text>,
        state -> Text,
        attempts -> Integer,
        max_attempts -> Integer,
        run_at -> BigInt,
        leased_until -> Nullable<BigInt>,
        lease_owner -> Nullable<Text>,
        last_error -> Nullable<Text>,
        created_at -> BigInt,
        finished_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    job_attempts (id) {
        id -> BigInt,
        job_id -> BigInt,
        attempt -> Integer,
        verdict -> Text,
        message -> Text,
        at -> BigInt,
    }
}

diesel::table! {
    periodic (name) {
        name -> Text,
        next_run -> BigInt,
    }
}
