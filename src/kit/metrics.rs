//! Figures for operators, in one registry per application. Labels are closed sets (route patterns, path-table
//! names, outcomes): never a raw path, never a tenant.

use std::fmt::Write as _;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Labels of a request that we answered.
#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    status: u16,
}

/// Labels of a call that we made.
#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CallLabels {
    path: &'static str,
    method: &'static str,
    outcome: &'static str,
}

/// Name of a gauge, and its values as (label, value of the label, figure); an empty label is none.
pub type Gauge<'a> = (&'a str, &'a [(&'a str, &'a str, i64)]);

/// The counters of one application.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    calls: Family<CallLabels, Counter>,
    call_seconds: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("tracebucket");
        let requests = Family::<RequestLabels, Counter>::default();
        let calls = Family::<CallLabels, Counter>::default();
        // 10 ms to 80 s: a Bitbucket call that takes longer has timed out.
        let call_seconds = Histogram::new(exponential_buckets(0.01, 2.0, 14));
        registry.register(
            "requests",
            "Requests answered, by route pattern and status",
            requests.clone(),
        );
        registry.register(
            "bitbucket_calls",
            "Calls to Bitbucket, by path name and outcome",
            calls.clone(),
        );
        registry.register_with_unit(
            "bitbucket_call",
            "Duration of calls to Bitbucket",
            Unit::Seconds,
            call_seconds.clone(),
        );
        Self {
            registry,
            requests,
            calls,
            call_seconds,
        }
    }
}

impl Metrics {
    /// Counts an answered request. `route` is the pattern of the route table.
    pub fn request(&self, route: &str, status: u16) {
        self.requests
            .get_or_create(&RequestLabels {
                route: route.to_owned(),
                status,
            })
            .inc();
    }

    /// Counts an attempt of a call to Bitbucket; `took` is `None` when nothing was sent.
    pub fn call(
        &self,
        path: &'static str,
        method: &'static str,
        outcome: &'static str,
        took: Option<Duration>,
    ) {
        self.calls
            .get_or_create(&CallLabels {
                path,
                method,
                outcome,
            })
            .inc();
        if let Some(took) = took {
            self.call_seconds.observe(took.as_secs_f64());
        }
    }

    /// The counters and the given gauges (`name{labels}`, value), in the OpenMetrics text format.
    #[must_use]
    pub fn render(&self, gauges: &[Gauge<'_>]) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        let end = text.rfind("# EOF").unwrap_or(text.len());
        text.truncate(end);
        for (name, values) in gauges {
            let _ = writeln!(text, "# TYPE tracebucket_{name} gauge");
            for (label, value, figure) in *values {
                let labels = if label.is_empty() {
                    String::new()
                } else {
                    format!("{{{label}=\"{value}\"}}")
                };
                let _ = writeln!(text, "tracebucket_{name}{labels} {figure}");
            }
        }
        text.push_str("# EOF\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_rendered_once_and_end_with_eof() {
        let metrics = Metrics::default();
        metrics.request("/o/{org}/errors/", 200);
        metrics.request("/o/{org}/errors/", 200);
        metrics.call("repository", "GET", "ok", Some(Duration::from_millis(20)));
        metrics.call("repository", "GET", "cached", None);
        let text = metrics.render(&[
            ("jobs", &[("state", "dead", 3)]),
            ("queued_writes", &[("", "", 0)]),
        ]);
        assert!(
            text.contains(
                "tracebucket_requests_total{route=\"/o/{org}/errors/\",status=\"200\"} 2"
            ),
            "{text}"
        );
        assert!(text.contains(
            "tracebucket_bitbucket_calls_total{path=\"repository\",method=\"GET\",outcome=\"ok\"} 1"
        ));
        assert!(text.contains("tracebucket_jobs{state=\"dead\"} 3"));
        assert!(text.contains("tracebucket_queued_writes 0"));
        assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1);
    }
}
