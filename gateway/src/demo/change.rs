//! What a PUT asks for: a checked change of an order.

use serde_json::{Map, Value};
use tidings_shared::Invalid;

use super::order::{Order, Status};

/// A change of at least one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    quantity: Option<u32>,
    status: Option<Status>,
}

/// Fields of an order that a PUT may carry, so that a whole order can be sent back, but that it does not change.
const FIXED: [&str; 4] = ["id", "item", "customer", "version"];

impl Change {
    /// Reads the body of a PUT: a whole order or a part of one. Names the first field that is wrong.
    pub fn parse(body: &[u8]) -> Result<Self, Invalid> {
        let expected = r#"a JSON object with quantity, status or both, such as {"quantity":3,"status":"packed"}"#;
        let wrong = || Invalid::new("body", &String::from_utf8_lossy(body), expected);
        let fields: Map<String, Value> = serde_json::from_slice(body).map_err(|_| wrong())?;
        let mut change = Self { quantity: None, status: None };
        for (field, value) in &fields {
            match field.as_str() {
                "quantity" => change.quantity = Some(quantity(value)?),
                "status" => change.status = Some(status(value)?),
                name if FIXED.contains(&name) => {}
                name => {
                    return Err(Invalid::new(
                        name.to_owned(),
                        &value.to_string(),
                        "no such field: only quantity and status",
                    ));
                }
            }
        }
        match change {
            Self { quantity: None, status: None } => Err(wrong()),
            change => Ok(change),
        }
    }

    /// Makes the change, and the version one higher.
    pub fn apply(self, order: &mut Order) {
        order.quantity = self.quantity.unwrap_or(order.quantity);
        order.status = self.status.unwrap_or(order.status);
        order.version += 1;
    }
}

fn quantity(value: &Value) -> Result<u32, Invalid> {
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    number
        .filter(|number| (1..=99).contains(number))
        .ok_or_else(|| Invalid::new("quantity", &value.to_string(), "a whole number from 1 to 99"))
}

fn status(value: &Value) -> Result<Status, Invalid> {
    let given = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    value
        .as_str()
        .and_then(Status::named)
        .ok_or_else(|| Invalid::new("status", &given, "new, packed, shipped or delivered"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_whole_order_or_a_part() {
        let parse = |body: &str| Change::parse(body.as_bytes()).unwrap();
        let change = parse(r#"{"id":3,"item":"x","customer":"y","quantity":9,"status":"shipped","version":4}"#);
        assert_eq!(change, Change { quantity: Some(9), status: Some(Status::Shipped) });
        assert_eq!(parse(r#"{"quantity":1}"#), Change { quantity: Some(1), status: None });
        assert_eq!(parse(r#"{"status":"new"}"#), Change { quantity: None, status: Some(Status::New) });
    }

    #[test]
    fn names_what_is_wrong() {
        let wrong = |body: &str| {
            let error = Change::parse(body.as_bytes()).unwrap_err();
            (error.field().to_owned(), error.value().to_owned())
        };
        for body in ["", "{", "[]", "7", "{}", r#"{"id":3}"#] {
            assert_eq!(wrong(body), ("body".into(), body.into()));
        }
        for value in ["0", "100", "-1", "1.5", "\"3\"", "null", "4294967297"] {
            assert_eq!(wrong(&format!(r#"{{"quantity":{value}}}"#)), ("quantity".into(), value.into()));
        }
        assert_eq!(wrong(r#"{"status":"lost"}"#), ("status".into(), "lost".into()));
        assert_eq!(wrong(r#"{"status":3}"#), ("status".into(), "3".into()));
        assert_eq!(wrong(r#"{"quantity":3,"colour":"red"}"#), ("colour".into(), "\"red\"".into()));
    }
}
