//! The kinds of figures, how they are headed and how they are shown.

use serde::Serialize;

/// A kind of figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// Deliveries that came.
    Delivered,
    /// Deliveries that were owed.
    Expected,
    /// Deliveries that were owed and that a resync stood in for.
    Resynced,
    /// Server CPU of a delivery, in microseconds.
    Cpu,
    /// The same, divided by that of the raw writer in the same run.
    ToRaw,
    /// Redis CPU of a delivery, in microseconds.
    RedisCpu,
    /// Publish to client, in milliseconds: half are faster.
    P50,
    /// 99 of 100 are faster.
    P99,
    /// 999 of 1,000 are faster.
    P999,
    /// None is slower.
    Max,
    /// Until half of those that come back are live, in milliseconds.
    ResumeP50,
    /// Until 99 of 100 are.
    ResumeP99,
    /// [`Figure::P99`] under attack, divided by that of as many harmless requests.
    P99ToHarmless,
    /// The same of [`Figure::ResumeP50`].
    ResumeP50ToHarmless,
    /// The same of [`Figure::ResumeP99`].
    ResumeP99ToHarmless,
    /// Most resident memory under attack, less that of as many harmless requests, in MiB.
    RssOverHarmless,
    /// Resident memory of the server for a connection, in KiB.
    Rss,
    /// Kernel memory for a connection at the server's end, in KiB.
    Kernel,
    /// Resident memory of the server without connections, in MiB.
    RssEmpty,
    /// Resident memory of the server at some moment, in MiB.
    RssNow,
    /// Until all are where they should be, in seconds.
    Seconds,
    /// Until half are, in seconds.
    HalfSeconds,
    /// Server CPU in seconds.
    CpuSeconds,
    /// Redis CPU in seconds.
    RedisSeconds,
    /// Commands that Redis ran.
    Commands,
    /// Connections that were opened and closed.
    Connects,
    /// Of them in a second.
    Rate,
    /// Memory at the end to memory after warm-up.
    Growth,
}

impl Figure {
    /// What stands above it.
    pub fn heading(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Expected => "expected",
            Self::Resynced => "resynced",
            Self::Cpu => "CPU/delivery",
            Self::ToRaw => "to raw",
            Self::RedisCpu => "Redis CPU/delivery",
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::P999 => "p99.9",
            Self::Max => "max",
            Self::ResumeP50 => "resume p50",
            Self::ResumeP99 => "resume p99",
            Self::P99ToHarmless => "p99 to harmless",
            Self::ResumeP50ToHarmless => "resume p50 to harmless",
            Self::ResumeP99ToHarmless => "resume p99 to harmless",
            Self::RssOverHarmless => "RSS over harmless",
            Self::Rss => "RSS/connection",
            Self::Kernel => "kernel/connection",
            Self::RssEmpty => "RSS empty",
            Self::RssNow => "RSS",
            Self::Seconds => "all",
            Self::HalfSeconds => "half",
            Self::CpuSeconds => "CPU",
            Self::RedisSeconds => "Redis CPU",
            Self::Commands => "Redis commands",
            Self::Connects => "connects",
            Self::Rate => "connects/s",
            Self::Growth => "RSS end/warm",
        }
    }

    /// The most that its median may be, where a run is to fail over that.
    pub fn bound(self) -> Option<f64> {
        match self {
            Self::P99ToHarmless | Self::ResumeP50ToHarmless | Self::ResumeP99ToHarmless => Some(2.0),
            // The sum that the README's limits come to with the defaults.
            Self::RssOverHarmless => Some(430.0),
            _ => None,
        }
    }

    /// Whether a median says too little without how far the runs were apart.
    pub fn shows_spread(self) -> bool {
        matches!(self, Self::Cpu | Self::ToRaw) || self.bound().is_some()
    }

    /// A value as it is read by people.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Cpu | Self::RedisCpu => format!("{value:.2} µs"),
            Self::ToRaw
            | Self::Growth
            | Self::P99ToHarmless
            | Self::ResumeP50ToHarmless
            | Self::ResumeP99ToHarmless => format!("{value:.2}"),
            Self::P50 | Self::P99 | Self::P999 | Self::Max | Self::ResumeP50 | Self::ResumeP99 => {
                format!("{value:.1} ms")
            }
            Self::Rss | Self::Kernel => format!("{value:.2} KiB"),
            Self::RssEmpty | Self::RssNow | Self::RssOverHarmless => format!("{value:.1} MiB"),
            Self::Seconds | Self::HalfSeconds | Self::CpuSeconds | Self::RedisSeconds => format!("{value:.2} s"),
            Self::Delivered | Self::Expected | Self::Resynced | Self::Commands | Self::Connects | Self::Rate => {
                thousands(value)
            }
        }
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut shown = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_units() {
        assert_eq!(Figure::Cpu.show(4.966), "4.97 µs");
        assert_eq!(Figure::Delivered.show(1_234_567.0), "1,234,567");
        assert_eq!(Figure::Delivered.show(999.0), "999");
        assert_eq!(Figure::Delivered.show(0.0), "0");
    }
}
