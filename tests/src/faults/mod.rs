//! What befalls Redis, its links and the gateways in production, each as a named fault, and what becomes of the events
//! that are published meanwhile.
//!
//! | module | owns |
//! |---|---|
//! | [`ground`] | a topology, whichever it is, and what faults ask of it |
//! | [`stage`] | gateways over a ground; what a fault can reach |
//! | [`cast`] | those who publish and those who look, and never stop |
//! | [`fault`] | what a fault is: its incident, its twin, what it does |
//! | [`run`] | playing faults on a stage, and judging it |
//! | [`outcome`] | what came of it: the oracle's verdict, and how long it took until all was well |
//! | [`table`] | the figures of a whole run |
//! | [`server`], [`refusal`], [`link`], [`failover`], [`history`], [`gateway`] | the faults, by what they strike |
//! | [`catalogue`] | all of them |

pub mod cast;
pub mod catalogue;
pub mod failover;
pub mod fault;
pub mod gateway;
pub mod ground;
pub mod history;
pub mod link;
pub mod outcome;
pub mod refusal;
pub mod run;
pub mod server;
pub mod stage;
pub mod table;

pub use fault::{Befalling, Fault, Strikes, Twin};
pub use ground::{Ground, Kind};
pub use outcome::Outcome;
pub use stage::{Setting, Stage};
