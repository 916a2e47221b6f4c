//! What a Redis has done: processor time, and commands by name.

use std::collections::BTreeMap;

use tidings_tests::Standalone;

/// What a Redis has done until now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RedisStats {
    /// Processor seconds.
    pub cpu: f64,
    /// Calls by command; those within scripts count too.
    pub calls: BTreeMap<String, u64>,
}

impl RedisStats {
    /// Asks it.
    pub async fn of(redis: &Standalone) -> Self {
        let cpu: String = redis.ask("INFO", &["cpu"]).await.expect("INFO");
        let commands: String = redis.ask("INFO", &["commandstats"]).await.expect("INFO");
        Self { cpu: seconds(&cpu), calls: calls(&commands) }
    }

    /// What it has done since an earlier time, without what was needed to ask.
    pub fn since(&self, before: &Self) -> Self {
        let more = |(name, calls): (&String, &u64)| {
            let more = calls - before.calls.get(name).copied().unwrap_or_default();
            (more > 0).then(|| (name.clone(), more))
        };
        Self { cpu: self.cpu - before.cpu, calls: self.calls.iter().filter_map(more).collect() }
    }

    /// All calls.
    pub fn commands(&self) -> u64 {
        self.calls.values().sum()
    }

    /// The commands that were called most.
    pub fn most(&self) -> String {
        let mut calls: Vec<_> = self.calls.iter().collect();
        calls.sort_by_key(|(name, calls)| (std::cmp::Reverse(**calls), *name));
        calls.iter().take(6).map(|(name, calls)| format!("{name} {calls}")).collect::<Vec<_>>().join(", ")
    }
}

fn seconds(info: &str) -> f64 {
    let used = |line: &str| {
        let text = line.strip_prefix("used_cpu_user:").or_else(|| line.strip_prefix("used_cpu_sys:"))?;
        text.trim().parse::<f64>().ok()
    };
    info.lines().filter_map(used).sum()
}

fn calls(info: &str) -> BTreeMap<String, u64> {
    let call = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let asking = ["info", "hello"].contains(&name) || name.starts_with("client");
        (!asking).then_some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
    };
    info.lines().filter_map(call).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_was_done_in_between() {
        let stats = |xrange| RedisStats {
            cpu: seconds("used_cpu_sys:0.5\r\nused_cpu_user:0.25\r\nused_cpu_sys_children:9\r\n"),
            calls: calls(&format!(
                "cmdstat_xrange:calls={xrange},usec=1\r\ncmdstat_info:calls=3,usec=1\r\ncmdstat_client|setinfo:calls=2,u=1\r\ncmdstat_ping:calls=4,usec=9\r\n"
            )),
        };
        assert_eq!(stats(1).cpu, 0.75);
        let since = stats(9).since(&stats(2));
        assert_eq!((since.commands(), since.most(), since.cpu), (7, "xrange 7".to_owned(), 0.0));
        assert_eq!(stats(5).most(), "xrange 5, ping 4");
    }
}
