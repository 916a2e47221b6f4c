//! The demo: a customer's backend with a board of orders, and the page that shows it.
//!
//! It plays the part that is not Tidings. The backend keeps orders, answers GET and PUT, and after each change publishes
//! which order changed; the page follows the orders with a plain `EventSource` and fetches again what an event names.
//! It knows of the gateway only the function that publishes.
//!
//! | request | answer |
//! |---|---|
//! | `GET /` | the page; its style and scripts are under `/demo/` |
//! | `GET /demo/orders` | all orders, as a JSON array |
//! | `GET /demo/orders/{id}` | one order |
//! | `PUT /demo/orders/{id}` | changes `quantity`, `status` or both, answers the order as it is now, and publishes |

mod assets;
mod board;
mod change;
mod http;
mod order;

pub use board::Board;

use actix_web::web::{Data, ServiceConfig};

/// Adds the page and its backend to a server.
pub fn configure(cfg: &mut ServiceConfig, board: Data<Board>) {
    cfg.app_data(board).configure(assets::configure).configure(http::configure);
}
