//! What every request is held to, whichever transport brought it: bounds of its head, what its head may say, and how
//! long its body may take.

mod bounds;
mod check;
mod hosts;
mod patience;

pub use bounds::HeadBounds;
pub(crate) use check::{check, check_target, is_host};
pub(crate) use hosts::guard_hosts;
pub use hosts::{HostNames, HostRule, WrongHostName};
pub(crate) use patience::Patience;
