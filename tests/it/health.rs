use crate::support::both;

both! {
    async fn a_started_server_is_ready(t) {
        for path in ["/healthz", "/readyz", "/metrics"] {
            let answer = t.http.get(t.url(path)).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{path}");
        }
    }

    async fn an_unknown_url_is_404_with_a_code(t) {
        let answer = t.http.get(t.url("/nowhere")).send().await.unwrap();
        assert_eq!(answer.status(), 404);
        assert_eq!(answer.headers()["x-tracebucket-error"], "not_found");
    }

    async fn a_wrong_method_is_405_and_names_the_right_ones(t) {
        let answer = t.http.delete(t.url("/api/0/organizations/")).send().await.unwrap();
        assert_eq!(answer.status(), 405);
        assert_eq!(answer.headers()["x-tracebucket-error"], "method_not_allowed");
        assert_eq!(answer.headers()["allow"], "GET");
        let body: serde_json::Value = answer.json().await.unwrap();
        assert!(body["detail"].is_string(), "{body}");
    }

    async fn a_person_gets_an_error_page(t) {
        let answer = t.http.get(t.url("/nowhere")).header("accept", "text/html").send().await.unwrap();
        assert_eq!(answer.status(), 404);
        let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        let html = answer.text().await.unwrap();
        assert!(html.contains("There is nothing here"));
        assert!(html.contains(&id), "what the operator looks for in the log");
    }
}
