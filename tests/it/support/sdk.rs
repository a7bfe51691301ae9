//! What an SDK sends.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Tenant, TestApp};

/// An event of a Python program: an error of this type, raised in this function.
pub fn error(kind: &str, function: &str) -> Value {
    json!({
        "platform": "python",
        "level": "error",
        "environment": "production",
        "exception": { "values": [{
            "type": kind,
            "value": "something broke",
            "stacktrace": { "frames": [
                { "filename": "lib/server.py", "module": "server", "function": "handle", "in_app": false, "lineno": 3 },
                { "filename": "shop/cart.py", "module": "shop.cart", "function": function, "in_app": true, "lineno": 7,
                  "context_line": "    raise it", "pre_context": ["def f():"], "post_context": [""],
                  "vars": { "items": "[]" } },
            ] },
        }] },
    })
}

/// A fresh event id.
pub fn event_id() -> String {
    tracebucket::kit::crypto::random_hex(16)
}

/// An envelope with one event item.
pub fn envelope(event_id: &str, event: &Value) -> Vec<u8> {
    let payload = event.to_string();
    format!(
        "{{\"event_id\":\"{event_id}\"}}\n{{\"type\":\"event\",\"length\":{}}}\n{payload}\n",
        payload.len()
    )
    .into_bytes()
}

impl TestApp {
    /// A request to the envelope endpoint of a tenant's project, without a key.
    pub fn post(&self, tenant: &Tenant, endpoint: &str) -> reqwest::RequestBuilder {
        self.http
            .post(self.url(&format!("/api/{}/{endpoint}/", tenant.project.id)))
    }

    /// Sends a body to the envelope endpoint with the tenant's key, and answers the response.
    pub async fn send_envelope(
        &self,
        tenant: &Tenant,
        body: impl Into<reqwest::Body>,
    ) -> reqwest::Response {
        self.post(tenant, "envelope")
            .header("X-Sentry-Auth", auth(tenant))
            .body(body)
            .send()
            .await
            .unwrap()
    }

    /// Reports an event and answers its id; it must be accepted.
    pub async fn report(&self, tenant: &Tenant, event: &Value) -> String {
        let id = event_id();
        let response = self.send_envelope(tenant, envelope(&id, event)).await;
        let (status, body) = (response.status().as_u16(), response.text().await.unwrap());
        assert_eq!((status, body), (200, format!("{{\"id\":\"{id}\"}}")));
        id
    }

    /// The groups of a tenant by a query.
    pub async fn groups(&self, tenant: &Tenant, query: &str) -> Vec<Value> {
        let query: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
        let path = format!(
            "/api/0/organizations/{}/issues/?query={query}",
            tenant.org.slug
        );
        self.get(&path, &tenant.token, 200)
            .await
            .as_array()
            .unwrap()
            .clone()
    }

    /// The one group of a tenant.
    pub async fn only_group(&self, tenant: &Tenant) -> Value {
        let mut groups = self.groups(tenant, "").await;
        assert_eq!(groups.len(), 1, "{groups:#?}");
        groups.remove(0)
    }

    /// The path of a group in the API.
    pub fn group_path(&self, tenant: &Tenant, group: &Value) -> String {
        format!(
            "/api/0/organizations/{}/issues/{}/",
            tenant.org.slug,
            group["id"].as_str().unwrap()
        )
    }
}

/// The value of `X-Sentry-Auth`.
pub fn auth(tenant: &Tenant) -> String {
    format!(
        "Sentry sentry_key={}, sentry_version=7, sentry_client=sentry.python/2.75.0",
        tenant.key.public_key
    )
}

/// A day, for clocks.
pub const DAY: Duration = Duration::from_secs(86_400);
