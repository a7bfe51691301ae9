//! The load generator: one thread, keep-alive connections over loopback, each with one request on its way at a
//! time. It reads answers just far enough to know their status and their end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Connections of every run.
pub const CONNECTIONS: usize = 64;

/// How long a run takes and how large it may get.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Not counted: connections, caches and pages of the database get warm.
    pub warm_up: Duration,
    /// Counted.
    pub measured: Duration,
    /// Requests in all after which a run ends early.
    pub limit: u64,
}

/// What came back.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Answers with the expected status in the measured time.
    pub answered: u64,
    /// How long was measured.
    pub took: Duration,
    /// Other statuses; 0 is a broken connection.
    pub others: BTreeMap<u16, u64>,
    /// Waiting times of answers, in microseconds, sorted.
    latencies: Vec<u32>,
}

impl Outcome {
    /// Answers per second.
    pub fn rate(&self) -> f64 {
        self.answered as f64 / self.took.as_secs_f64().max(0.001)
    }

    /// Waiting time that `part` (0.0–1.0) of the answers did not exceed, in milliseconds.
    pub fn percentile(&self, part: f64) -> f64 {
        let index = ((self.latencies.len() as f64 * part) as usize)
            .min(self.latencies.len().saturating_sub(1));
        self.latencies
            .get(index)
            .map_or(0.0, |micros| f64::from(*micros) / 1_000.0)
    }
}

/// Sends what `write` makes (a whole request for a number that is never used twice) until the time is over.
pub fn run(
    address: SocketAddr,
    plan: Plan,
    expected: u16,
    write: impl Fn(u64, &mut Vec<u8>) + Send + Sync,
) -> Outcome {
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(drive(address, plan, expected, &write))
        });
        worker.join().expect("the generator does not panic")
    })
}

async fn drive(
    address: SocketAddr,
    plan: Plan,
    expected: u16,
    write: &(impl Fn(u64, &mut Vec<u8>) + Send + Sync),
) -> Outcome {
    let numbers = AtomicU64::new(0);
    let begun = Instant::now();
    let from = begun + plan.warm_up;
    let until = from + plan.measured;
    let callers = (0..CONNECTIONS).map(|_| {
        caller(
            address,
            expected,
            &numbers,
            (from, until, plan.limit),
            write,
        )
    });
    let mut total = Outcome {
        took: plan.measured,
        ..Outcome::default()
    };
    for part in futures_util::future::join_all(callers).await {
        total.answered += part.answered;
        total.latencies.extend(part.latencies);
        for (status, count) in part.others {
            *total.others.entry(status).or_default() += count;
        }
    }
    // A run that reached its limit ended early.
    total.took = Instant::now().min(until).saturating_duration_since(from);
    total.latencies.sort_unstable();
    total
}

async fn caller(
    address: SocketAddr,
    expected: u16,
    numbers: &AtomicU64,
    (from, until, limit): (Instant, Instant, u64),
    write: &(impl Fn(u64, &mut Vec<u8>) + Send + Sync),
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut stream = connect(address).await;
    let (mut request, mut answer) = (Vec::with_capacity(8_192), Vec::with_capacity(16_384));
    loop {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let sent = Instant::now();
        if sent >= until || number >= limit {
            return outcome;
        }
        request.clear();
        write(number, &mut request);
        let status = exchange(&mut stream, &request, &mut answer)
            .await
            .unwrap_or(0);
        let now = Instant::now();
        if status == 0 {
            stream = connect(address).await;
        }
        if status != expected {
            *outcome.others.entry(status).or_default() += 1;
        } else if now >= from && now < until {
            outcome.answered += 1;
            outcome
                .latencies
                .push(u32::try_from(now.duration_since(sent).as_micros()).unwrap_or(u32::MAX));
        }
    }
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address)
        .await
        .expect("the server listens");
    stream.set_nodelay(true).expect("a TCP option");
    stream
}

/// Sends one request and reads one answer to its end; answers its status.
async fn exchange(
    stream: &mut TcpStream,
    request: &[u8],
    answer: &mut Vec<u8>,
) -> std::io::Result<u16> {
    stream.write_all(request).await?;
    answer.clear();
    loop {
        if stream.read_buf(answer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if let Some((status, length)) = head(answer)
            && answer.len() >= length
        {
            return Ok(status);
        }
    }
}

/// Status and whole length of an answer whose head has arrived.
fn head(answer: &[u8]) -> Option<(u16, usize)> {
    let end = memchr::memmem::find(answer, b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&answer[..end]).ok()?;
    let status = text.get(9..12)?.parse().ok()?;
    let length = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(Some(0), |(_, value)| value.trim().parse().ok())?;
    Some((status, end + length))
}
