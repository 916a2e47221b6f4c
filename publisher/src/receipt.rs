//! The receipt of a publish.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tidings_shared::Id;

/// Proof that the store took an event: it is in the history of each of its addresses, and on its way to the gateways.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The event's id at each of its addresses; addresses of one partition share one.
    #[serde(serialize_with = "as_texts", deserialize_with = "from_texts")]
    pub ids: BTreeMap<String, Id>,
    /// Whether all of it had been published before under the same idempotency key; the ids are those of that time.
    /// After a retry within one call it may be that call's own first attempt that had arrived.
    pub duplicate: bool,
}

impl Receipt {
    /// The event's id at one of its addresses; `None` if it did not go there.
    ///
    /// Of [`Publisher::disabled`](crate::Publisher::disabled) all ids are zero.
    pub fn id(&self, address: &str) -> Option<Id> {
        self.ids.get(address).copied()
    }
}

fn as_texts<S: Serializer>(ids: &BTreeMap<String, Id>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(ids.iter().map(|(address, id)| (address, id.to_string())))
}

fn from_texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Id>, D::Error> {
    let texts = BTreeMap::<String, String>::deserialize(deserializer)?;
    let ids = texts.into_iter().map(|(address, id)| Ok((address, id.parse().map_err(serde::de::Error::custom)?)));
    ids.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_json_of_the_publish_api() {
        let json = r#"{"ids":{"@alice":"17-1","orders/42":"17-0"},"duplicate":false}"#;
        let receipt: Receipt = serde_json::from_str(json).unwrap();
        assert_eq!(receipt.id("orders/42"), Some(Id { ms: 17, seq: 0 }));
        assert_eq!(receipt.id("orders/43"), None);
        assert_eq!(serde_json::to_string(&receipt).unwrap(), json);
        assert!(serde_json::from_str::<Receipt>(r#"{"ids":{"a":"x"},"duplicate":false}"#).is_err());
    }
}
