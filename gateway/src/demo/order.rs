//! One order of the board.

use serde::Serialize;

/// An order, as `GET` answers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Order {
    /// Its number; `orders/{id}` is its topic.
    pub id: u32,
    /// What was ordered.
    pub item: &'static str,
    /// Who ordered it.
    pub customer: &'static str,
    /// How many, 1 to 99.
    pub quantity: u32,
    /// How far it is.
    pub status: Status,
    /// Grows by one with each change.
    pub version: u64,
}

/// How far an order is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nobody has touched it yet.
    New,
    /// It waits for the carrier.
    Packed,
    /// It is on its way.
    Shipped,
    /// The customer has it.
    Delivered,
}

impl Status {
    /// The status of that name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "new" => Some(Self::New),
            "packed" => Some(Self::Packed),
            "shipped" => Some(Self::Shipped),
            "delivered" => Some(Self::Delivered),
            _ => None,
        }
    }
}

/// The orders of a fresh board.
pub fn seed() -> Vec<Order> {
    let rows = [
        ("Walnut desk", "Amara Obi", 1, Status::New),
        ("Reading lamp", "Jonas Lindqvist", 4, Status::Packed),
        ("Linen curtains", "Mei Tanaka", 6, Status::New),
        ("Oak bookshelf", "Lucía Romero", 2, Status::Shipped),
        ("Wool blanket", "Tom Abernathy", 3, Status::Packed),
        ("Stoneware bowls", "Ines Carvalho", 12, Status::New),
        ("Bentwood chair", "Noah Klein", 8, Status::Shipped),
        ("Copper kettle", "Freya Dahl", 1, Status::Delivered),
    ];
    let order = |(id, (item, customer, quantity, status))| Order { id, item, customer, quantity, status, version: 1 };
    (1..).zip(rows).map(order).collect()
}
