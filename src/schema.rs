//! The tables of both databases, one schema. Times are [`crate::kit::clock::Micros`] (microseconds since the
//! epoch, UTC); JSON is stored as text; see ARCHITECTURE.md for why.
#![allow(
    missing_docs,
    reason = "columns are described where they are made, in migrations/"
)]

diesel::table! {
    orgs (id) {
        id -> BigInt,
        slug -> Text,
        name -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    projects (id) {
        id -> BigInt,
        org_id -> BigInt,
        slug -> Text,
        name -> Text,
        platform -> Text,
        resolve_policy -> Text,
        next_short_no -> BigInt,
        created_at -> BigInt,
    }
}

diesel::table! {
    project_keys (id) {
        id -> BigInt,
        org_id -> BigInt,
        project_id -> BigInt,
        public_key -> Text,
        label -> Text,
        active -> Bool,
        created_at -> BigInt,
    }
}

diesel::table! {
    users (id) {
        id -> BigInt,
        email -> Text,
        name -> Text,
        password_hash -> Text,
        active -> Bool,
        created_at -> BigInt,
    }
}

diesel::table! {
    memberships (org_id, user_id) {
        org_id -> BigInt,
        user_id -> BigInt,
        role -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    invitations (id) {
        id -> BigInt,
        org_id -> BigInt,
        email -> Text,
        role -> Text,
        code_hash -> Binary,
        invited_by -> Text,
        created_at -> BigInt,
        expires_at -> BigInt,
    }
}

diesel::table! {
    sessions (token_hash) {
        token_hash -> Binary,
        user_id -> BigInt,
        created_at -> BigInt,
        expires_at -> BigInt,
    }
}

diesel::table! {
    api_tokens (id) {
        id -> BigInt,
        token_hash -> Binary,
        org_id -> Nullable<BigInt>,
        user_id -> Nullable<BigInt>,
        name -> Text,
        hint -> Text,
        scopes -> Text,
        created_at -> BigInt,
        last_used_at -> Nullable<BigInt>,
        revoked_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    audit_log (id) {
        id -> BigInt,
        org_id -> Nullable<BigInt>,
        actor -> Text,
        action -> Text,
        target -> Text,
        data -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    installations (id) {
        id -> BigInt,
        client_key -> Text,
        app_key -> Text,
        principal_uuid -> Text,
        principal_name -> Text,
        principal_type -> Text,
        domain_name -> Text,
        icon -> Nullable<Text>,
        status -> Text,
        sealed_secret -> Nullable<Binary>,
        reset_allowed -> Bool,
        generation -> BigInt,
        installed_by -> Nullable<Text>,
        created_at -> BigInt,
        updated_at -> BigInt,
        uninstalled_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    links (id) {
        id -> BigInt,
        org_id -> BigInt,
        provider -> Text,
        kind -> Text,
        installation_id -> Nullable<BigInt>,
        external_id -> Text,
        workspace_uuid -> Text,
        name -> Text,
        domain_name -> Text,
        account_type -> Text,
        icon -> Nullable<Text>,
        status -> Text,
        status_reason -> Nullable<Text>,
        config -> Text,
        label -> Text,
        purpose -> Text,
        owner_id -> Nullable<BigInt>,
        private -> Bool,
        last_check -> Nullable<Text>,
        checked_at -> Nullable<BigInt>,
        created_by -> Text,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::table! {
    credentials (link_id) {
        link_id -> BigInt,
        org_id -> BigInt,
        sealed -> Binary,
        version -> BigInt,
        lease_owner -> Nullable<Text>,
        lease_until -> Nullable<BigInt>,
        access_until -> Nullable<BigInt>,
        expires_at -> Nullable<BigInt>,
        warned -> Nullable<Text>,
        created_at -> BigInt,
        rotated_at -> BigInt,
    }
}

diesel::table! {
    oauth_flows (state_hash) {
        state_hash -> Binary,
        org_id -> BigInt,
        user_id -> BigInt,
        session_hash -> Binary,
        link_id -> Nullable<BigInt>,
        sealed -> Binary,
        expires_at -> BigInt,
    }
}

diesel::table! {
    repos (id) {
        id -> BigInt,
        org_id -> BigInt,
        link_id -> Nullable<BigInt>,
        provider -> Nullable<Text>,
        external_id -> Nullable<Text>,
        name -> Text,
        url -> Nullable<Text>,
        main_branch -> Nullable<Text>,
        status -> Text,
        has_tracker -> Nullable<Bool>,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::table! {
    repo_hooks (repo_id) {
        repo_id -> BigInt,
        org_id -> BigInt,
        hook_uuid -> Nullable<Text>,
        state -> Text,
        sealed_secret -> Binary,
        sealed_previous -> Nullable<Binary>,
        previous_until -> Nullable<BigInt>,
        last_error -> Nullable<Text>,
        last_delivery_at -> Nullable<BigInt>,
        checked_at -> Nullable<BigInt>,
        updated_at -> BigInt,
        events -> Nullable<Text>,
        finding -> Nullable<Text>,
        repaired_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    bulk_adds (id) {
        id -> BigInt,
        org_id -> BigInt,
        link_id -> BigInt,
        actor -> Text,
        search -> Nullable<Text>,
        takes_all -> Bool,
        state -> Text,
        cursor -> Nullable<Text>,
        problem -> Nullable<Text>,
        total -> BigInt,
        added -> BigInt,
        known -> BigInt,
        failed -> BigInt,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::table! {
    bulk_items (id) {
        id -> BigInt,
        bulk_id -> BigInt,
        org_id -> BigInt,
        name -> Text,
        external_id -> Nullable<Text>,
        main_branch -> Nullable<Text>,
        has_tracker -> Nullable<Bool>,
        state -> Text,
        reason -> Nullable<Text>,
    }
}

diesel::table! {
    link_digests (org_id) {
        org_id -> BigInt,
        day -> Text,
        entries -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    groups (id) {
        id -> BigInt,
        org_id -> BigInt,
        project_id -> BigInt,
        short_no -> BigInt,
        title -> Text,
        search_text -> Text,
        culprit -> Text,
        kind -> Text,
        metadata -> Text,
        level -> Text,
        platform -> Text,
        logger -> Nullable<Text>,
        top_path -> Nullable<Text>,
        environment -> Nullable<Text>,
        status -> Text,
        substatus -> Nullable<Text>,
        resolved_at -> Nullable<BigInt>,
        status_details -> Text,
        first_seen -> BigInt,
        last_seen -> BigInt,
        times_seen -> BigInt,
        user_count -> BigInt,
        first_release -> Nullable<Text>,
        last_release -> Nullable<Text>,
        num_comments -> Integer,
        assignee_id -> Nullable<BigInt>,
        created_at -> BigInt,
    }
}

diesel::table! {
    group_hashes (project_id, hash) {
        project_id -> BigInt,
        hash -> Binary,
        group_id -> BigInt,
    }
}

diesel::table! {
    group_hours (group_id, hour) {
        group_id -> BigInt,
        hour -> BigInt,
        events -> BigInt,
    }
}

diesel::table! {
    group_users (group_id, user_hash) {
        group_id -> BigInt,
        user_hash -> Binary,
    }
}

diesel::table! {
    group_facets (group_id, kind, value) {
        group_id -> BigInt,
        kind -> Text,
        value -> Text,
        events -> BigInt,
        last_seen -> BigInt,
    }
}

diesel::table! {
    group_unfixed (group_id, release) {
        group_id -> BigInt,
        release -> Text,
    }
}

diesel::table! {
    events (id) {
        id -> BigInt,
        project_id -> BigInt,
        group_id -> BigInt,
        event_id -> Binary,
        received_at -> BigInt,
        occurred_at -> BigInt,
        release -> Nullable<Text>,
        environment -> Nullable<Text>,
        body -> Binary,
    }
}

diesel::table! {
    activities (id) {
        id -> BigInt,
        org_id -> BigInt,
        group_id -> BigInt,
        kind -> Text,
        ident -> Nullable<Text>,
        user_id -> Nullable<BigInt>,
        actor -> Text,
        data -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    commits (id) {
        id -> BigInt,
        org_id -> BigInt,
        repo_id -> BigInt,
        hash -> Text,
        message -> Text,
        author_name -> Nullable<Text>,
        author_email -> Nullable<Text>,
        committed_at -> BigInt,
        on_main -> Bool,
        created_at -> BigInt,
    }
}

diesel::table! {
    branch_heads (repo_id, branch) {
        repo_id -> BigInt,
        branch -> Text,
        hash -> Text,
        updated_at -> BigInt,
    }
}

diesel::table! {
    group_links (id) {
        id -> BigInt,
        org_id -> BigInt,
        group_id -> BigInt,
        linked_type -> Text,
        relationship -> Text,
        linked_id -> BigInt,
        created_at -> BigInt,
    }
}

diesel::table! {
    tickets (id) {
        id -> BigInt,
        org_id -> BigInt,
        group_id -> BigInt,
        link_id -> BigInt,
        repo_id -> Nullable<BigInt>,
        backend -> Text,
        client_key -> Text,
        marker -> Text,
        state -> Text,
        ticket_key -> Nullable<Text>,
        repo_name -> Text,
        number -> Nullable<BigInt>,
        url -> Nullable<Text>,
        title -> Text,
        description -> Text,
        draft -> Text,
        remote_state -> Nullable<Text>,
        synced -> Nullable<Text>,
        attempted_at -> Nullable<BigInt>,
        busy_until -> Nullable<BigInt>,
        busy_owner -> Nullable<Text>,
        last_error -> Nullable<Text>,
        created_by -> Text,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::table! {
    ticket_links (group_id, ticket_id) {
        group_id -> BigInt,
        ticket_id -> BigInt,
        org_id -> BigInt,
        created_at -> BigInt,
    }
}

diesel::table! {
    ticket_comments (id) {
        id -> BigInt,
        org_id -> BigInt,
        ticket_id -> BigInt,
        reason -> Text,
        marker -> Text,
        body -> Text,
        remote_id -> Nullable<Text>,
        busy_until -> Nullable<BigInt>,
        busy_owner -> Nullable<Text>,
        created_at -> BigInt,
        posted_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    ticket_defaults (id) {
        id -> BigInt,
        org_id -> BigInt,
        link_id -> BigInt,
        project_id -> BigInt,
        field -> Text,
        value -> Text,
    }
}

diesel::table! {
    deliveries (id) {
        id -> BigInt,
        org_id -> BigInt,
        repo_id -> BigInt,
        source -> Text,
        request_uuid -> Binary,
        event_key -> Text,
        attempt_no -> Integer,
        body -> Binary,
        received_at -> BigInt,
        state -> Text,
        attempts -> Integer,
        run_at -> BigInt,
        lease_owner -> Nullable<Text>,
        outcome -> Nullable<Text>,
        error -> Nullable<Text>,
        took_ms -> Nullable<BigInt>,
        finished_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    delivery_attempts (id) {
        id -> BigInt,
        delivery_id -> BigInt,
        result -> Text,
        error -> Nullable<Text>,
        took_ms -> BigInt,
        at -> BigInt,
    }
}

diesel::table! {
    rate_budgets (budget, call_group) {
        budget -> Text,
        call_group -> Text,
        hourly_limit -> BigInt,
        paused_until -> BigInt,
        near_until -> BigInt,
        strikes -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::table! {
    rate_slots (budget, call_group, slot) {
        budget -> Text,
        call_group -> Text,
        slot -> BigInt,
        used -> BigInt,
    }
}

diesel::table! {
    kept_answers (id) {
        id -> BigInt,
        org_id -> BigInt,
        link_id -> BigInt,
        answer_key -> Binary,
        body -> Binary,
        size -> BigInt,
        etag -> Nullable<Text>,
        modified -> Nullable<Text>,
        immutable -> Bool,
        used_at -> BigInt,
    }
}

diesel::table! {
    bitbucket_calls (id) {
        id -> BigInt,
        org_id -> BigInt,
        link_id -> BigInt,
        at -> BigInt,
        feature -> Text,
        priority -> Text,
        method -> Text,
        path -> Text,
        outcome -> Text,
        status -> Nullable<BigInt>,
        millis -> BigInt,
        request_id -> Nullable<Text>,
    }
}

diesel::table! {
    sealing_key (id) {
        id -> BigInt,
        key_id -> Text,
        named_at -> BigInt,
    }
}

diesel::allow_tables_to_appear_in_same_query!(
    orgs,
    projects,
    project_keys,
    users,
    memberships,
    invitations,
    sessions,
    api_tokens,
    audit_log,
    installations,
    links,
    credentials,
    oauth_flows,
    repos,
    repo_hooks,
    bulk_adds,
    bulk_items,
    link_digests,
    groups,
    group_hashes,
    group_hours,
    group_users,
    group_facets,
    group_unfixed,
    events,
    activities,
    commits,
    branch_heads,
    group_links,
    tickets,
    ticket_links,
    ticket_comments,
    ticket_defaults,
    deliveries,
    delivery_attempts,
    rate_budgets,
    rate_slots,
    kept_answers,
    bitbucket_calls,
    sealing_key,
);
