//! All faults.

use super::{Fault, failover, gateway, history, link, refusal, server};

/// All of them, family by family.
pub fn all() -> impl Iterator<Item = &'static Fault> {
    [server::FAULTS, refusal::FAULTS, link::FAULTS, failover::FAULTS, history::FAULTS, gateway::FAULTS]
        .into_iter()
        .flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::faults::Strikes;

    #[test]
    fn each_has_a_name_of_its_own_an_incident_and_a_twin() {
        let mut names = HashSet::new();
        for fault in all() {
            assert!(names.insert(fault.name), "{} is there twice", fault.name);
            let well_named = fault.name.split_once("::").is_some_and(|(family, name)| {
                [family, name]
                    .iter()
                    .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
            });
            assert!(well_named, "{}: family::what_happens", fault.name);
            assert!(fault.incident.ends_with('.'), "{}: its incident is a sentence", fault.name);
            assert!(!fault.kinds.is_empty(), "{} befalls nothing", fault.name);
            assert!(!fault.twin.without.is_empty(), "{} has no twin", fault.name);
            assert!(
                fault.twin.kind.is_none_or(|kind| fault.befalls(kind)),
                "{}: it does not befall its twin",
                fault.name
            );
        }
    }

    #[test]
    fn only_what_strikes_something_else_mingles() {
        let of = |strikes| Fault { strikes, ..Fault::PLAIN };
        let mingle = |one, other| of(one).mingles_with(&of(other));
        let all = [Strikes::Servers, Strikes::Links, Strikes::Gateways, Strikes::Machines];
        assert!(all.iter().all(|strikes| !mingle(*strikes, *strikes)));
        assert!(mingle(Strikes::Servers, Strikes::Links) && mingle(Strikes::Gateways, Strikes::Servers));
        assert!(mingle(Strikes::Machines, Strikes::Links));
        assert!(!mingle(Strikes::Machines, Strikes::Servers) && !mingle(Strikes::Gateways, Strikes::Machines));
    }
}
