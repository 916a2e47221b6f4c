//! Playing faults on a stage, and judging it.

use std::time::Duration;

use futures_util::future::{join, join_all};

use super::{Fault, Ground, Kind, Outcome, Setting, Stage, Twin};
use crate::topology::{Layout, Server};

/// How long clients may take to have everything once a fault is over: gateways that were busy connecting to a server
/// that is gone try again within a second or two.
pub const CONVERGED: Duration = Duration::from_secs(10);
/// How long a twin's clients get: longer than any mechanism that is not switched off takes.
const TWIN_CONVERGED: Duration = Duration::from_secs(6);
/// Events that the traveller misses of those that come after the fault has struck.
const MISSED: usize = 40;

impl Fault {
    /// Plays it on such a topology, and panics if a promise was broken.
    pub async fn play(&self, kind: Kind, server: Server) -> Outcome {
        let stage = self.stage(kind, server, &[]).await;
        let outcome = stage.play(&[self], CONVERGED).await;
        outcome.assert_kept();
        let late = self.heals_in.filter(|most| outcome.recovery.worst > *most);
        assert!(late.is_none(), "not all had converged within {late:?} of the strike\n{outcome}");
        let given_up = stage.cast.oracle.unacknowledged();
        assert!(self.refuses || given_up == 0, "publishers gave up {given_up} events\n{outcome}");
        for gateway in &stage.gateways {
            gateway.ready().await;
        }
        outcome
    }

    /// Plays its twin, and panics if no promise was broken, and none of its publishers gave anything up.
    pub async fn play_twin(&self) -> Outcome {
        let Twin { without, kind, server } = self.twin;
        let stage = self.stage(kind.unwrap_or(self.kinds[0]), server, without).await;
        let outcome = stage.play(&[self], TWIN_CONVERGED).await;
        let given_up = !self.refuses && stage.cast.oracle.unacknowledged() > 0;
        assert!(
            given_up || !outcome.verdict.is_kept(),
            "without {without:?} every promise was kept all the same\n{outcome}"
        );
        outcome
    }

    async fn stage(&self, kind: Kind, server: Server, without: &'static [&'static str]) -> Stage {
        let ground = Ground::start(kind, (self.layout)(Layout::of(server))).await;
        let setting = self.settings.iter().fold(Setting::default(), |setting, (key, value)| setting.with(key, value));
        setting.without(without).raise(ground).await
    }
}

impl Stage {
    /// Lets these faults befall it at once while events flow, publishes until clients had the time to converge, and
    /// judges what they saw. Publishing has ended then.
    pub async fn play(&self, faults: &[&Fault], patience: Duration) -> Outcome {
        self.cast.flows().await;
        self.cast.traveller.leave();
        self.cast.more(self.calm).await;
        self.struck();
        let befalling = join_all(faults.iter().map(|fault| (fault.befall)(self)));
        let travelling = async {
            self.cast.more(MISSED).await;
            self.cast.traveller.come_back();
        };
        join(befalling, travelling).await;
        if faults.len() > 1 {
            // The first that told so was not the last.
            self.moments().over = None;
        }
        self.cast.everywhere().await;
        self.over();
        if self.heal {
            self.heal().await;
        }
        self.cast.more(self.calm).await;
        self.cast.conclude().await;
        let verdict = self.cast.oracle.settle(self.cast.records(), patience).await;
        Outcome::of(self, verdict)
    }
}
