//! One measurement of one proxy.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::Serialize;
use tokio::{task::JoinSet, time::sleep};

use super::{
    Client, Proxy,
    client::{download, upload},
    memory,
};
use crate::{
    cpu,
    process::{Running, free_address},
};

/// Tunnels that are opened at once.
const AT_ONCE: usize = 16;
/// Load before a measurement.
const WARM_UP: Duration = Duration::from_secs(1);
/// Data before a measurement, in bytes each way.
const WARM_UP_BYTES: u64 = 64 << 20;
/// Time for what opening tunnels needed to be given back, before memory is read.
const SETTLE: Duration = Duration::from_secs(2);
/// Tunnels of idle ones that one number is told for.
const MANY: f64 = 100_000.0;

/// How much is measured.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    /// Rounds; in each every proxy is measured once.
    pub rounds: usize,
    /// Seconds of opening tunnels, after one of warm-up.
    pub seconds: u64,
    /// GiB through a tunnel each way.
    pub gib: u64,
    /// Numbers of idle tunnels that memory is read at, upwards.
    pub tunnels: Vec<usize>,
}

impl Settings {
    /// Raises the limit of open files to what this process may set, which the proxies inherit.
    ///
    /// # Errors
    ///
    /// When the idle tunnels do not fit into it.
    pub fn raise_descriptors(&self) -> anyhow::Result<()> {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        let most = self.tunnels.iter().max().copied().unwrap_or_default();
        // Both ends of each, in the proxy as here, and some of their own.
        let wanted = 2 * most as u64 + 512;
        ensure!(
            hard >= wanted,
            "{most} tunnels need {wanted} open files, and the limit is {hard}: raise it with ulimit -Hn"
        );
        Ok(())
    }
}

/// What opening and closing tunnels cost.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Connect {
    /// Tunnels that were opened, used and closed.
    pub tunnels: u64,
    /// CPU time of each, in microseconds.
    pub cpu_us: f64,
    /// How many in a second.
    pub per_second: f64,
}

/// What data through a tunnel cost one way.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Flow {
    /// CPU time, in seconds for each GiB.
    pub cpu_seconds_per_gib: f64,
    /// GiB in a second.
    pub gib_per_second: f64,
}

/// What much data through a tunnel cost.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Bulk {
    /// To the client.
    pub down: Flow,
    /// To the target.
    pub up: Flow,
}

/// The memory of tunnels that are idle.
#[derive(Clone, Debug, Serialize)]
pub struct Idle {
    /// Bytes of the process without a tunnel.
    pub without: u64,
    /// Tunnels, and bytes of the process with them.
    pub with: Vec<(usize, u64)>,
    /// Bytes of a tunnel: the slope through these.
    pub bytes_per_tunnel: f64,
    /// Bytes of the process with 100,000 tunnels, if it goes on like that.
    pub with_100000: f64,
}

/// A proxy that runs.
struct Measured {
    process: Running,
    client: Client,
}

impl Measured {
    async fn start(proxy: Proxy, target: SocketAddr, folder: &Path) -> anyhow::Result<Self> {
        let listen = free_address()?;
        let client = Client::new(proxy, listen, target)?;
        let command = proxy.command(listen, target, folder)?;
        let output = folder.join("output");
        let mut process = Running::start(proxy.name(), command, output)?;
        process.wait_until(|| client.open_and_close(0)).await?;
        Ok(Self { process, client })
    }

    /// Opens and closes tunnels for a time, and tells how many.
    async fn load(&self, time: Duration) -> anyhow::Result<u64> {
        let deadline = Instant::now() + time;
        let mut clients = JoinSet::new();
        for first in 0..AT_ONCE {
            let client = self.client.clone();
            clients.spawn(async move {
                let mut tunnels = 0;
                while Instant::now() < deadline {
                    let number = first + tunnels * AT_ONCE;
                    client.open_and_close(number).await?;
                    tunnels += 1;
                }
                anyhow::Ok(tunnels as u64)
            });
        }
        let mut tunnels = 0;
        while let Some(done) = clients.join_next().await {
            tunnels += done.context("a client stopped")??;
        }
        Ok(tunnels)
    }
}

impl Connect {
    /// Opens tunnels through a fresh proxy for some seconds.
    ///
    /// # Errors
    ///
    /// When one of them fails.
    pub async fn measure(
        proxy: Proxy,
        target: SocketAddr,
        seconds: u64,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let measured = Measured::start(proxy, target, folder).await?;
        measured.load(WARM_UP).await?;
        let (cpu, began) = (cpu::of_tree(measured.process.pid())?, Instant::now());
        let tunnels = measured.load(Duration::from_secs(seconds)).await?;
        let took = began.elapsed();
        let cpu = cpu::of_tree(measured.process.pid())? - cpu;
        Ok(Self {
            tunnels,
            cpu_us: cpu.as_secs_f64() * 1e6 / tunnels as f64,
            per_second: tunnels as f64 / took.as_secs_f64(),
        })
    }
}

impl Bulk {
    /// Sends so many GiB down and then up one tunnel through a fresh proxy.
    ///
    /// # Errors
    ///
    /// When not all of it comes.
    pub async fn measure(
        proxy: Proxy,
        target: SocketAddr,
        gib: u64,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let measured = Measured::start(proxy, target, folder).await?;
        let mut stream = measured.client.open(0).await?;
        download(&mut stream, WARM_UP_BYTES).await?;
        upload(&mut stream, WARM_UP_BYTES).await?;
        let pid = measured.process.pid();
        let (cpu, began) = (cpu::of_tree(pid)?, Instant::now());
        download(&mut stream, gib << 30).await?;
        let down = Flow::new(cpu::of_tree(pid)? - cpu, began.elapsed(), gib);
        let (cpu, began) = (cpu::of_tree(pid)?, Instant::now());
        upload(&mut stream, gib << 30).await?;
        let up = Flow::new(cpu::of_tree(pid)? - cpu, began.elapsed(), gib);
        Ok(Self { down, up })
    }
}

impl Flow {
    fn new(cpu: Duration, took: Duration, gib: u64) -> Self {
        Self {
            cpu_seconds_per_gib: cpu.as_secs_f64() / gib as f64,
            gib_per_second: gib as f64 / took.as_secs_f64(),
        }
    }
}

impl Idle {
    /// Opens tunnels through a fresh proxy and leaves them open; reads its memory at each number.
    ///
    /// # Errors
    ///
    /// When one of them fails, or does not stay open.
    pub async fn measure(
        proxy: Proxy,
        target: SocketAddr,
        numbers: &[usize],
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let measured = Measured::start(proxy, target, folder).await?;
        let pid = measured.process.pid();
        sleep(SETTLE).await;
        let without = memory::of_tree(pid)?;
        let mut open = Vec::new();
        let mut with = Vec::new();
        for number in numbers {
            let next = Arc::new(AtomicUsize::new(open.len()));
            let mut clients = JoinSet::new();
            for _ in 0..AT_ONCE {
                let (client, next, most) = (measured.client.clone(), Arc::clone(&next), *number);
                clients.spawn(async move {
                    let mut opened = Vec::new();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= most {
                            return anyhow::Ok(opened);
                        }
                        opened.push(client.open(number).await?);
                    }
                });
            }
            while let Some(done) = clients.join_next().await {
                open.extend(done.context("a client stopped")??);
            }
            sleep(SETTLE).await;
            with.push((open.len(), memory::of_tree(pid)?));
        }
        // All of them are still there: each carries a byte.
        for stream in &mut open {
            download(stream, 1)
                .await
                .context("a tunnel that was idle")?;
        }
        let (slope, at_none) = line(&with).context("no number of idle tunnels was given")?;
        Ok(Self {
            without,
            with,
            bytes_per_tunnel: slope,
            with_100000: at_none + slope * MANY,
        })
    }
}

/// The line nearest to points (least squares): its slope, and its value at 0.
fn line(points: &[(usize, u64)]) -> Option<(f64, f64)> {
    let points = points.iter().map(|(x, y)| (*x as f64, *y as f64));
    let count = points.len() as f64;
    let (x, y) = points
        .clone()
        .fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
    let (x, y) = (x / count, y / count);
    let (above, below) = points.fold((0.0, 0.0), |sum, point| {
        let away = point.0 - x;
        (sum.0 + away * (point.1 - y), sum.1 + away * away)
    });
    // One point, or none, has no slope.
    (below > 0.0).then(|| (above / below, y - x * above / below))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_through_its_points() {
        let (slope, at_none) = line(&[(2000, 7000), (4000, 11000), (8000, 19000)]).unwrap();
        assert!((slope - 2.0).abs() < 1e-9 && (at_none - 3000.0).abs() < 1e-6);
        assert_eq!(line(&[(2000, 7000)]), None);
        assert_eq!(line(&[]), None);
    }
}
